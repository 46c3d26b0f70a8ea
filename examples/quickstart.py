"""
Quickstart
==========

Audit a folder of slices, cross-validate a network on it, and explain the network. To use your own
slices, run ``python quickstart.py FOLDER``, where FOLDER holds ``COVID/`` and ``non-COVID/``.
Without a folder, the script draws phantoms.
"""

import sys
import tempfile
from pathlib import Path

import covidct
from covidct.datasets.canvases import make_canvases

# %%
# Each slice has a target (1 is COVID-19) and, if known, a patient.

if len(sys.argv) > 1:
    slices, run_dir = covidct.load_dataset("folder", sys.argv[1]), Path("runs/quickstart")
else:
    slices, run_dir = covidct.load_dataset("phantom", n=60, seed=0), Path(tempfile.mkdtemp())
print(slices)

# %%
# Audit the dataset before any training.

print(covidct.audit_dataset(slices))

# %%
# Train two folds by patient for some seconds, from random weights: expect a score near chance. For
# real work, leave out ``recipe`` and ``weights``, to use the paper's recipe and ImageNet weights.

cv = covidct.CrossValidator(
    "shufflenet",
    covidct.Recipe.demo().scaled(15).replace(canvas=(64, 84), batch_size=4, learning_rate=2e-3),
    cv=2,
    groups="near-duplicate" if slices.groups is None else "patient",
    weights=None,
    run_dir=run_dir,
)
result = cv.run(slices)
print(result)
print(result.confusion_matrix())

# %%
# Grad-CAM maps of up to four COVID-19 slices of the first test fold. The network has learned almost
# nothing, and the maps show it.

model = result.fold_model(0)
shown = slices.subset([i for i in result.folds[0].test if slices.targets[i] == 1][:4])
canvases = make_canvases(shown, model.input_size)
maps, logits = covidct.explain.GradCAM(model).over(canvases)
images = [shown[i][0] for i in range(len(shown))]
probabilities = logits.sigmoid().tolist()
figure = covidct.explain.figures.saliency_maps(images, maps, probabilities=probabilities, columns=4)
figure.savefig(run_dir / "maps.png")
print("Run folder with the maps:", run_dir)
