"""
Quickstart
==========

A folder of slices, audited, cross-validated, explained. Run it on your own with
``python quickstart.py FOLDER``, where FOLDER holds ``COVID/`` and ``non-COVID/``; without a folder
it draws phantoms.
"""

import sys
import tempfile
from pathlib import Path

import covidct
from covidct.datasets.canvases import make_canvases

# %%
# Slices come with a target each (1 is COVID-19) and, where they are known, with patients.

if len(sys.argv) > 1:
    slices, run_dir = covidct.load_dataset("folder", sys.argv[1]), Path("runs/quickstart")
else:
    slices, run_dir = covidct.load_dataset("phantom", n=60, seed=0), Path(tempfile.mkdtemp())
print(slices)

# %%
# Before any training: is the dataset fit to be believed?

print(covidct.audit_dataset(slices))

# %%
# Two folds of a recipe of seconds, from scratch, patients kept apart: expect a score near chance.
# In earnest, leave ``recipe`` and ``weights`` out: the paper's, from ImageNet weights.

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
# Up to four COVID-19 slices of the first test fold, and what spoke for COVID-19 to its network. It
# has learnt next to nothing, and the maps show it.

model = result.fold_model(0)
shown = slices.subset([i for i in result.folds[0].test if slices.targets[i] == 1][:4])
canvases = make_canvases(shown, model.input_size)
maps, logits = covidct.explain.GradCAM(model).over(canvases)
images = [shown[i][0] for i in range(len(shown))]
probabilities = logits.sigmoid().tolist()
figure = covidct.explain.figures.saliency_maps(images, maps, probabilities=probabilities, columns=4)
figure.savefig(run_dir / "maps.png")
print("The run and its maps:", run_dir)
