"""Data of `covidct.evaluation.published`: printed values in percent, and records of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from types import MappingProxyType
from typing import NamedTuple

CITATION = (
    "Alshazly, Linse, Barth, Martinetz: Explainable COVID-19 detection using chest CT scans and "
    "deep learning (2020; Sensors 21 (2021) 455)"
)
PROTOCOL = "five folds of slices at random, stratified by class; mean ± sd over the test folds"

HEADER = ("accuracy", "precision", "recall", "specificity", "f1")

PAPER_ROWS = {
    "sars-cov-2-ct": """
        squeezenet    95.1±1.3  94.2±2.0  96.2±1.4  94.0±2.2  95.2±1.2
        shufflenet    97.5±0.8  96.1±1.4  99.0±0.2  95.9±1.5  97.5±0.8
        resnet18      98.3±0.8  97.2±1.2  99.6±0.3  97.1±1.4  98.4±0.7
        resnet50      99.2±0.3  99.1±0.5  99.4±0.5  99.1±0.5  99.2±0.3
        resnet101     99.4±0.4  99.6±0.3  99.1±0.6  99.6±0.3  99.4±0.4
        resnext50     99.1±0.5  99.0±0.5  99.3±0.5  98.9±0.6  99.1±0.5
        resnext101    99.2±0.3  99.2±0.4  99.3±0.5  99.2±0.4  99.2±0.3
        inception_v3  99.1±0.5  98.5±0.8  99.8±0.3  98.5±0.8  99.1±0.5
        xception      98.8±0.6  99.0±1.0  98.6±1.1  98.9±1.1  98.8±0.6
        densenet121   99.3±0.3  99.4±0.2  99.2±0.5  99.4±0.2  99.3±0.3
        densenet169   99.3±0.5  99.4±0.6  99.3±0.5  99.3±0.7  99.3±0.4
        densenet201   99.2±0.2  99.0±0.4  99.4±0.2  98.9±0.4  99.2±0.2
    """,
    "covid19-ct": """
        squeezenet    87.3±3.2  86.3±6.1  86.5±2.3  87.9±6.3  86.5±3.0
        shufflenet    87.9±2.6  84.5±2.5  90.8±3.9  85.4±2.7  87.6±2.8
        resnet18      90.3±2.5  87.1±4.1  93.1±2.5  87.9±4.9  90.1±2.3
        resnet50      90.8±1.9  90.2±5.0  90.0±3.6  91.4±5.0  90.1±1.9
        resnet101     89.8±2.5  88.0±3.7  90.5±1.9  89.2±3.8  89.3±2.4
        resnext50     90.6±2.2  87.4±3.6  93.4±3.4  88.2±4.4  90.3±2.2
        resnext101    90.9±1.8  88.1±3.5  93.1±2.9  88.9±4.0  90.6±1.8
        inception_v3  89.4±2.0  87.7±2.5  90.0±2.4  88.9±2.4  88.8±2.2
        xception      88.5±2.6  87.3±2.7  88.3±4.7  88.7±2.9  87.7±2.9
        densenet121   88.9±1.2  87.6±2.6  88.8±1.4  88.9±2.9  88.2±1.0
        densenet169   91.2±1.4  88.1±2.5  93.7±1.2  88.9±2.7  90.8±1.4
        densenet201   92.9±2.2  91.3±2.2  93.7±3.4  92.2±2.2  92.5±2.4
    """,
}

QUOTED_ROWS = {
    "sars-cov-2-ct": """
        xDNN                 | Soares 2020  | 97.3      99.1      95.5      –         97.3
        DenseNet201          | Jaiswal 2020 | 96.2      96.2      96.2      96.2      96.2
        modified VGG19       | Panwar 2020  | 95.0      95.3      94.0      94.7      94.3
        COVID CT-Net         | Yazdani 2020 | –         –         85.0±0.2  96.2±0.1  90.0±0.1
        contrastive learning | Wang 2020    | 90.8±0.9  95.7±0.4  85.8±1.1  –         90.8±1.3
    """,
    "covid19-ct": """
        DenseNet169          | He 2020       | 83.0      –         –         –         81.0
        decision function    | Mishra 2020   | 88.3      –         –         –         86.7
        ResNet101            | Saqib 2020    | 80.3      78.2      85.7      –         81.8
        DenseNet121 + SVM    | Jokandan 2020 | 85.9±5.9  –         84.9±8.4  86.8±6.3  –
        DenseNet169          | Martinez 2020 | 87.7±4.7  90.2±6.0  85.6±6.7  –         87.8±5.0
        contrastive learning | Wang 2020     | 78.6±1.5  78.0±1.3  79.7±1.4  –         78.8±1.4
    """,
}

NOTES = {
    ("covid19-ct", "densenet169"): (
        "The text of the paper reports an accuracy of 91.6, its table 91.2."
    ),
    ("covid19-ct", "resnet101"): (
        "The paper finds deeper networks slightly better; this network is the exception."
    ),
    ("sars-cov-2-ct", "resnet101"): (
        "The paper's abstract pairs this network's accuracy with InceptionV3's sensitivity, 99.8."
    ),
}

# The columns of HEADER, followed by the AUC.
COVIDNETS = "81.77 79.05 84.69 79.05 81.77 87.50"


class Spread(NamedTuple):
    """Mean and standard deviation over folds, as fractions.

    Attributes
    ----------
    mean : float
        Mean.
    sd : float, default=nan
        Standard deviation; NaN if it was not published.
    """

    mean: float
    sd: float = nan


@dataclass(frozen=True)
class PublishedResult:
    """Published result of one network on one dataset.

    Attributes
    ----------
    network : str
        Name of the network in covidct, or the name used by its authors.
    dataset : str
        Name of the dataset in covidct, or another name if the slices differ.
    metrics : mapping of str to Spread
        Published metrics as fractions, with keys of `covidct.evaluation.metrics.METRICS`.
    protocol : str
        Description of the split into training and test slices.
    citation : str
        Source of the values.
    comparable : bool
        True if a run of covidct under the protocol ``"paper"`` repeats the experiment.
    reason : str
        Explanation of `comparable`.
    note : str, default=""
        Remark on the values, such as a misprint.
    """

    network: str
    dataset: str
    metrics: Mapping[str, Spread]
    protocol: str
    citation: str
    comparable: bool
    reason: str
    note: str = ""


def _spread(cell: str) -> Spread:
    mean, _, sd = cell.partition("±")
    # Rounded because 88.1 / 100 may differ from 0.881 in the last digit.
    return Spread(round(float(mean) / 100, 6), round(float(sd) / 100, 6) if sd else nan)


def _metrics(cells: Sequence[str], names: Sequence[str] = HEADER) -> Mapping[str, Spread]:
    given = zip(names, cells, strict=True)
    return MappingProxyType({name: _spread(cell) for name, cell in given if cell != "–"})


def paper_results() -> list[PublishedResult]:
    """Return the results of the paper's own networks."""
    return [
        PublishedResult(
            network=network,
            dataset=dataset,
            metrics=_metrics(cells),
            protocol=PROTOCOL,
            citation=f"{CITATION}, Table 2",
            comparable=True,
            reason="the same five-fold split of slices at random, stratified by class",
            note=NOTES.get((dataset, network), ""),
        )
        for dataset, rows in PAPER_ROWS.items()
        for network, *cells in (line.split() for line in rows.strip().splitlines())
    ]


def quoted_results() -> list[PublishedResult]:
    """Return the results of other works that the paper quotes."""
    return [
        PublishedResult(
            network=network.strip(),
            dataset=dataset,
            metrics=_metrics(cells.split()),
            protocol="protocol of the quoted work, which the paper does not describe",
            citation=f"{source.strip()}, quoted in Table 2 of {CITATION}",
            comparable=False,
            reason="splits and training of the quoted work are not described in the paper",
        )
        for dataset, rows in QUOTED_ROWS.items()
        for network, source, cells in (line.split("|") for line in rows.strip().splitlines())
    ]


def later_results() -> list[PublishedResult]:
    """Return results published after the paper."""
    covidnets = PublishedResult(
        network="CovidDenseNet",
        dataset="covid19-ct",
        metrics=_metrics(COVIDNETS.split(), (*HEADER, "auc")),
        protocol="official split of the dataset into training, validation and test, by patient",
        citation="Alshazly, Linse, Abdalla, Barth, Martinetz: COVID-Nets: deep CNN architectures "
        "for detecting COVID-19 using chest CT scans, PeerJ Computer Science 7 (2021) e655",
        comparable=False,
        reason="no patient is in both training and test, unlike in a random split of slices",
    )
    return [covidnets]
