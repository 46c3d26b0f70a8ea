"""
Padding against stretching
==========================

Show what padding and stretching do to slices of different shapes, on a 253 x 349 canvas, and test
which of them is better.
"""

import numpy as np
from matplotlib.figure import Figure
from torchvision.transforms import v2

import covidct

# %%
# Padding keeps the shape of the lungs and adds black margins; stretching fills the canvas.

slices = covidct.load_dataset("phantom", n=40, seed=3)
image = slices[0][0]
shapes = [image, image.crop((0, 60, image.width, image.height - 60)), image.rotate(90, expand=True)]
transforms = {
    "padded": covidct.AspectPreservingPad((253, 349)),
    "stretched": v2.Resize((253, 349)),
}

figure = Figure(figsize=(9, 5), layout="constrained")
axes = figure.subplots(2, 3)
for row, (name, transform) in zip(axes, transforms.items(), strict=True):
    for ax, slice_ in zip(row, shapes, strict=True):
        ax.imshow(np.asarray(transform(slice_)), cmap="gray", vmin=0, vmax=255)
        ax.set_title(f"{name}, from {slice_.height} x {slice_.width}", fontsize=9)
        ax.set_axis_off()

# %%
# To find out which is better, train with both. The two runs have the same folds, so that they can
# be compared slice by slice. The permutation test swaps whole patients.

results = {}
for resize in ("pad", "stretch"):
    recipe = covidct.Recipe.demo().replace(resize=resize, canvas=(64, 84), batch_size=4)
    cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    results[resize] = cv.run(slices).pooled_predictions()

pad, stretch = results["pad"], results["stretch"]
test = covidct.evaluation.significance.permutation_test(
    pad["target"],
    pad["probability"],
    stretch["probability"],
    groups=pad["group"].astype(str),
    folds=pad["fold"],
    metric="auc",
)
print(test)

# %%
# With 40 slices, and networks trained for seconds, no test can show a difference.
