"""
The paper's protocol against a grouped one
==========================================

The same network on the same slices: once split at random, as in the paper, once with each patient
on one side. What lies between the two numbers is patients recognized, not disease.
"""

import warnings

import covidct
from covidct.runs.comparison_table import side_by_side

# %%
# Eight slices of each patient make it easy to recognize one. Seconds of training on small canvases
# teach a network from scratch little about disease, but enough about patients.

slices = covidct.load_dataset("phantom", n=64, seed=0, slices_per_patient=8)
print(slices)

# %%
# The random split warns, since the dataset knows its patients.

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
# One row each: per slice with an interval, per patient, and under which protocol.

print(side_by_side(results))
