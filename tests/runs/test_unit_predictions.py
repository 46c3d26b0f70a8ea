"""Predictions of units: decision curves at another prevalence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from covidct.evaluation.calibration import cross_fit
from covidct.evaluation.decision_curve import net_benefit
from covidct.evaluation.decision_rule import fit_rule, probability_logit
from covidct.runs.unit_predictions import UnitPredictions


def table(positives, negatives, *, first=0):
    rng = np.random.default_rng(positives)
    targets = np.repeat([1, 0], [positives, negatives])
    logits = rng.normal(2 * targets - 1, 1)
    index = first + np.arange(len(targets))
    return pd.DataFrame(
        {"target": targets, "probability": 1 / (1 + np.exp(-logits)), "fold": 0, "unit": index}
    ).assign(group=index)


def test_calibration_holds_for_the_prevalence_that_it_was_fitted_at():
    """No shift to the prevalence of the validation part, whatever that of the test part."""
    test, validation = table(20, 80), table(50, 50, first=100)
    units = UnitPredictions("slice", test, validation, "slice")
    fitted_on = (probability_logit(validation["probability"]), validation["target"], np.zeros(100))
    calibrated = cross_fit(
        probability_logit(test["probability"]),
        test["target"],
        folds=test["fold"],
        method="platt",
        fitted_on=fitted_on,
    ).probabilities
    expected = net_benefit(test["target"], calibrated, thresholds=[0.3, 0.6], prevalence=0.5)
    found = units.net_benefit([0.3, 0.6], prevalence=0.5)
    np.testing.assert_allclose(found.model, expected.model)


def test_a_rule_is_fitted_on_the_mean_of_the_networks_that_the_predictor_averages():
    rng = np.random.default_rng(0)
    targets = np.arange(200) % 2
    networks = [np.clip(0.3 * targets + rng.uniform(0, 0.7, 200), 0, 1) for _ in range(5)]
    validation = pd.concat(
        pd.DataFrame(
            {
                "target": targets,
                "probability": p,
                "fold": k,
                "unit": range(200),
                "group": range(200),
            }
        )
        for k, p in enumerate(networks)
    )
    units = UnitPredictions("slice", validation, validation, "slice")
    options = {"calibrate": "platt", "sensitivity": 0.9}
    rule, one = units.rule(**options), fit_rule(targets, networks[0], **options)
    mean = fit_rule(targets, np.mean(networks, axis=0), **options)
    for name in ("slope", "intercept", "threshold"):
        assert getattr(rule, name) == pytest.approx(getattr(mean, name), rel=1e-9)
    assert one.slope != pytest.approx(rule.slope, rel=0.05)
