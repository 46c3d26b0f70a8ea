"""
Your own dataset
================

Load your slices in three ways: from class folders, from lists, and by an entry in the registry,
which records the name, the license and the known faults of a dataset.
"""

import tempfile
from pathlib import Path

import covidct

# %%
# Phantoms stand for your files: PNG files in two class folders, with a list of patients.

root = Path(tempfile.mkdtemp())
covidct.load_dataset("phantom", n=16, seed=1).save(root)
print(*sorted(path.name for path in root.iterdir()))

# %%
# **Class folders.** ``groups.csv`` is read automatically; every slice must be listed in it.

slices = covidct.load_dataset("folder", root)
print(slices)
print(slices.names[0], slices.targets[0], slices.groups[0])

# %%
# **Lists.** From a spreadsheet or a database: for each slice a path, a target and, if known, a
# patient.

paths = sorted(root.glob("*/*/*.png"))
targets = [int(path.parts[-3] == "COVID") for path in paths]
patients = [path.parent.name for path in paths]
listed = covidct.CTDataset(paths, targets, patients, name="ward 7", root=root)
print(listed)

# %%
# **A registered name.** It works in every process that imports the module with this call; on the
# command line, use ``--import``.

info = covidct.DatasetInfo(
    "ward-7",
    "Slices of ward 7",
    license="internal",
    known_faults=("all COVID-19 slices of 2020 come from one scanner",),
)
covidct.register_dataset(info, overwrite=True)
print(covidct.load_dataset("ward-7", root))
print(covidct.dataset_info("ward-7").known_faults[0])
