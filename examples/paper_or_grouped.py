"""
The paper's protocol against a grouped one
==========================================

Train the same network on the same slices, once split at random as in the paper, and once with the
slices of a patient in one fold. Under the random split, recognizing patients raises the score.
"""

import warnings

import covidct
from covidct.runs.comparison_table import side_by_side

# %%
# With eight slices per patient, patients are easy to recognize. A network that is trained from
# random weights for some seconds learns little about the disease, but enough about the patients.

slices = covidct.load_dataset("phantom", n=64, seed=0, slices_per_patient=8)
print(slices)

# %%
# The random split warns, since the patients are known.

recipe = covidct.Recipe.demo().scaled(15)
recipe = recipe.replace(canvas=(64, 84), batch_size=4, learning_rate=2e-3)
results = []
for groups in (None, "patient"):
    cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups=groups, weights=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results.append(cv.run(slices))
    print(*(warning.message for warning in caught), sep="\n")

# %%
# One row per run: metrics per slice with an interval, per patient, and the protocol.

print(side_by_side(results))
