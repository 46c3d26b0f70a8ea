"""Several runs in one table: protocols, networks or datasets side by side."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation import metrics
from .scores import ScoredFolds
from .tables import percent, render_table

__all__ = ["side_by_side"]


def side_by_side(
    results: Sequence[ScoredFolds],
    *,
    metric: str = "accuracy",
    style: str = "text",
    variants: Sequence[str] | None = None,
) -> str:
    """Lay out runs in rows: per slice with an interval, and per patient where ids are known.

    Parameters
    ----------
    results
        The runs.
    metric
        A name out of ``covidct.evaluation.metrics.METRICS``.
    style
        ``"text"``, ``"markdown"``, ``"latex"`` or ``"csv"``.
    variants
        What to call each run in a column of its own, where network, dataset and protocol do not
        tell them apart.

    Returns
    -------
    str
        The table, in per cent. The interval is a 95 % bootstrap over groups where these are
        known; the deviation over folds is none.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.comparison import side_by_side
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> print(side_by_side([cv.run(slices)]).splitlines()[0].split()[:2])
    ['network', 'dataset']
    """
    title = metrics.find_metric(metric).title.lower()
    header = [
        "network",
        "dataset",
        "protocol",
        f"{title} per slice",
        "95 % interval",
        f"{title} per patient",
        "AUC per slice",
    ]
    rows = [_row(result, metric) for result in results]
    if variants is not None:
        header.insert(2, "variant")
        for row, variant in zip(rows, variants, strict=True):
            row.insert(2, variant)
    return render_table(header, rows, style=style)


def _row(result: ScoredFolds, metric: str) -> list[str]:
    low, high = result.intervals()[metric]
    patients = result.patient_metrics()
    return [
        result.model_name,
        result.dataset_name,
        result.protocol,
        percent(*result.summary()[metric]),
        f"{percent(low)} to {percent(high)}",
        "–" if patients is None else percent(*metrics.summarize(patients)[metric]),
        percent(*result.summary()["auc"]),
    ]
