"""
Your own dataset
================

Three ways in: class folders, lists of your own, and an entry in the registry that gives a dataset
a name, a license and its known faults.
"""

import tempfile
from pathlib import Path

import covidct

# %%
# Here phantoms stand for your files: PNGs in two class folders, with a list of patients.

root = Path(tempfile.mkdtemp())
covidct.load_dataset("phantom", n=16, seed=1).save(root)
print(*sorted(path.name for path in root.iterdir()))

# %%
# **Class folders.** ``groups.csv`` is found by itself; a slice missing in it would be an error.

slices = covidct.load_dataset("folder", root)
print(slices)
print(slices.names[0], slices.targets[0], slices.groups[0])

# %%
# **Lists.** From a spreadsheet or a database: a path, a target and, best of all, a patient each.

paths = sorted(root.glob("*/*/*.png"))
targets = [int(path.parts[-3] == "COVID") for path in paths]
patients = [path.parent.name for path in paths]
listed = covidct.CTDataset(paths, targets, patients, name="ward 7", root=root)
print(listed)

# %%
# **A name.** ``load_dataset`` knows it, wherever the module that registers it has been imported.

info = covidct.DatasetInfo(
    "ward-7",
    "Slices of ward 7",
    license="internal",
    known_faults=("all COVID-19 slices of 2020 are of one scanner",),
)
covidct.register_dataset(info, overwrite=True)
print(covidct.load_dataset("ward-7", root))
print(covidct.dataset_info("ward-7").known_faults[0])
