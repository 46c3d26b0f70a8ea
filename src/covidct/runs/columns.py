"""Columns of the predictions of a run."""

from __future__ import annotations

from ..models.outputs import Outputs

__all__ = ["PREDICTION_COLUMNS", "label_column", "prediction_columns"]

#: Columns of the predictions, in the order of the files, and their data types.
PREDICTION_COLUMNS = {
    "index": "int64",
    "path": "str",
    "frame": "int64",
    "target": "int64",
    "label": "str",
    "source": "str",
    "group": "str",
    "volume": "str",
    "fold": "int64",
    "repeat": "int64",
    "probability": "float64",
    "logit": "float64",
}


def label_column(label: str) -> str:
    """Return the name of the column with the probability of a label.

    Parameters
    ----------
    label : str
        Label that has an output of the network.

    Returns
    -------
    str
        ``p_LABEL``.

    Examples
    --------
    >>> from covidct.runs.columns import label_column
    >>> label_column("CAP")
    'p_CAP'
    """
    return f"p_{label}"


def prediction_columns(outputs: Outputs) -> dict[str, str]:
    """Return the columns of the predictions of a network, and their data types.

    Parameters
    ----------
    outputs : Outputs
        Meaning of the network's outputs.

    Returns
    -------
    dict of str to str
        :data:`PREDICTION_COLUMNS`, and :func:`label_column` for each label that has an output.

    Examples
    --------
    >>> from covidct.models import LabelOutputs
    >>> from covidct.runs.columns import prediction_columns
    >>> list(prediction_columns(LabelOutputs(("CAP", "COVID"), positive=("COVID",))))[-2:]
    ['p_CAP', 'p_COVID']
    """
    return PREDICTION_COLUMNS | {label_column(name): "float64" for name in outputs.labels}
