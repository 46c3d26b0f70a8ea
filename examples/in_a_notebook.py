"""
In a notebook
=============

Datasets, audits, results and predictions show themselves when a cell ends with them, and every
plot takes and returns matplotlib Axes. This page is a notebook: download it at the bottom. It runs
on drawn slices, so its numbers mean nothing.
"""

# %%
# A dataset shows a strip of slices with their labels, and rows of its table.

import matplotlib.pyplot as plt
import numpy as np

import covidct
from covidct.explain import GradCAM, plot_maps

slices = covidct.load_dataset("phantom", n=96, seed=0)
slices  # noqa: B018

# %%
# The table is a pandas DataFrame, with all that is known of each slice.

slices.table.groupby("label")["group"].nunique()

# %%
# An audit shows its findings; a click opens one.

covidct.audit_dataset(slices)

# %%
# A network can be looked up before it is built.

covidct.model_info("shufflenet")

# %%
# A result shows the folds, intervals, protocol and warnings.

recipe = covidct.Recipe.demo().replace(canvas=(96, 128)).scaled(6)
cv = covidct.CrossValidator("shufflenet", recipe, cv=3, groups="patient", weights=None, threads=1)
result = cv.run(slices)
result  # noqa: B018

# %%
# Each plot draws into the Axes that it is given, and returns it.

figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
result.plot_roc(axes[0])
result.plot_confusion_matrix(axes[1])
ax = result.plot_learning_curves(axes[2])

# %%
# The same plots take arrays of your own.

targets = np.tile([0, 1], 50)
probabilities = np.clip(0.3 + 0.4 * targets + np.linspace(-0.35, 0.35, 100), 0, 1)
ax = covidct.evaluation.figures.roc(targets, probabilities, name="mine")
ax = covidct.evaluation.figures.roc(targets, np.roll(probabilities, 10) ** 2, name="theirs", ax=ax)

# %%
# Saliency maps on the original slices:

model = result.fold_model(0)
pad = covidct.AspectPreservingPad(model.input_size)
index = result.folds[0].test[[0, 1, -2, -1]]
images = [slices[int(i)][0] for i in index]
canvases = np.stack([np.asarray(pad(image)) for image in images])
maps = GradCAM(model).over(canvases).maps
axes = plot_maps(images, maps, titles=slices.labels[index])

# %%
# New slices, here from memory, and their predictions. These are not new: the column of doubts
# says that the networks were trained on them.

pixels = [np.asarray(image) for image in images]
new = covidct.CTDataset.from_images(pixels, slices.targets[index])
covidct.Predictor.from_run(result.run_dir).predict(new.paths)
