"""
Quickstart
==========

A folder of slices, audited, cross-validated, explained. Run it on your own with
``python quickstart.py FOLDER``, where FOLDER holds ``COVID/`` and ``non-COVID/``; without a folder
it draws phantoms. With ImageNet weights and the paper's recipe, take ``"resnet18"`` and leave
``recipe`` and ``weights`` out.
"""

import sys
import tempfile
from pathlib import Path

import covidct
from covidct.datasets.canvases import make_canvases

# %%
# Slices come with a target each (1 is COVID-19) and, where they are known, with patients.

if len(sys.argv) > 1:
    slices = covidct.load_dataset("folder", sys.argv[1])
else:
    slices = covidct.load_dataset("phantom", n=60, seed=0)
print(slices)

# %%
# Before any training: is the dataset fit to be believed?

print(covidct.audit_dataset(slices))

# %%
# Two folds of a short recipe, patients kept apart. A run that was stopped goes on where it was.

run_dir = Path(tempfile.mkdtemp()) / "run"
cv = covidct.CrossValidator(
    "shufflenet",
    covidct.Recipe.demo().scaled(4),
    cv=2,
    groups="near-duplicate" if slices.groups is None else "patient",
    weights=None,
    run_dir=run_dir,
)
result = cv.run(slices)
print(result)
print(result.confusion_matrix())

# %%
# Four COVID-19 slices of the first test fold, and what spoke for COVID-19 to its network. From
# scratch and after a few seconds, it has learnt next to nothing, and the maps show it.

model = result.fold_model(0)
test = [i for i in result.folds[0].test if slices.targets[i] == 1][:4]
shown = slices.subset(test)
canvases = make_canvases(shown, model.input_size)
maps, logits = covidct.explain.GradCAM(model).over(canvases)
figure = covidct.explain.figures.saliency_maps(
    [shown[i][0] for i in range(4)], maps, probabilities=logits.sigmoid().tolist(), columns=4
)
figure.savefig(run_dir / "maps.png")
