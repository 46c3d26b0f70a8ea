"""Meaning of a network's outputs: COVID-19 against the rest, or one output per label.

Both kinds give the COVID logit, from which metrics, calibration and operating points are computed,
so that both kinds of networks are evaluated in the same way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ..errors import UnknownNameError

__all__ = ["CovidOutput", "LabelOutputs", "Outputs", "outputs_of"]


@dataclass(frozen=True)
class Outputs(ABC):
    """Meaning of a network's outputs: its classes, and those of them that mean COVID-19.

    Parameters
    ----------
    classes : tuple of str
        Names of the classes, in the order of their codes.
    positive : tuple of str
        Classes that mean COVID-19.

    Raises
    ------
    ValueError
        If the names of the classes are not distinct, non-empty strings; if ``positive`` is empty,
        contains other names, or contains all classes.

    Examples
    --------
    >>> from covidct.models import Outputs
    >>> values = {"target": "label", "classes": ["CAP", "COVID-19"], "positive": ["COVID-19"]}
    >>> Outputs.from_dict(values)
    LabelOutputs(classes=('CAP', 'COVID-19'), positive=('COVID-19',))
    """

    classes: tuple[str, ...]
    positive: tuple[str, ...]

    #: Training target of the network: ``"covid"`` or ``"label"``.
    target: ClassVar[Literal["covid", "label"]]

    def __post_init__(self) -> None:
        classes, positive = tuple(self.classes), tuple(self.positive)
        texts = all(isinstance(name, str) and name for name in classes)
        if not texts or len(set(classes)) < len(classes):
            raise ValueError(f"classes must be distinct, non-empty names, got {classes!r}")
        if not 0 < len(set(positive) & set(classes)) == len(positive) < len(classes):
            raise ValueError(
                f"positive must name at least one of the classes {classes!r}, and not all of them, "
                f"got {positive!r}"
            )
        object.__setattr__(self, "classes", classes)  # JSON gives lists
        object.__setattr__(self, "positive", positive)

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of outputs of the head."""

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Labels that have an output of their own; empty for a single COVID-19 logit."""

    @abstractmethod
    def encode(
        self, labels: npt.NDArray[np.str_], targets: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.int64]:
        """Return the code of the true class of each slice, which is its position in `classes`.

        Parameters
        ----------
        labels : ndarray of str of shape (n_slices,)
            Original labels.
        targets : ndarray of int of shape (n_slices,)
            1 for COVID-19, 0 for the rest.

        Returns
        -------
        ndarray of int of shape (n_slices,)
            Codes.

        Raises
        ------
        UnknownNameError
            If a label is not one of the classes.
        """

    @property
    def is_positive(self) -> npt.NDArray[np.bool_]:
        """Array of shape (n_classes,): True for the classes that mean COVID-19."""
        return np.isin(self.classes, self.positive)

    @property
    def explainable(self) -> tuple[str, ...]:
        """Names that `members` and `log_odds` accept."""
        return tuple(dict.fromkeys(("covid", "non-covid", *self.labels)))

    def members(self, name: str) -> npt.NDArray[np.bool_]:
        """Return the classes that belong to a name.

        Parameters
        ----------
        name : str
            ``"covid"`` for all classes that mean COVID-19, ``"non-covid"`` for all other classes,
            or one of `labels`.

        Returns
        -------
        ndarray of bool of shape (n_classes,)
            True for these classes.

        Raises
        ------
        ValueError
            If the name is not one of `explainable`.
        """
        if name not in self.explainable:
            raise ValueError(
                f"target must be one of {', '.join(map(repr, self.explainable))}, got {name!r}"
            )
        groups = {"covid": self.is_positive, "non-covid": ~self.is_positive}
        return groups.get(name, np.isin(self.classes, name))

    def covid_logit(self, outputs: Tensor) -> Tensor:
        """Compute the log odds of COVID-19 against the rest.

        Parameters
        ----------
        outputs : torch.Tensor of shape (B,) or (B, n_classes)
            Outputs of the network.

        Returns
        -------
        torch.Tensor of shape (B,)
            Log odds, log p(COVID-19) - log(1 - p(COVID-19)).
        """
        return self._odds(outputs, self.is_positive)

    @abstractmethod
    def _odds(self, outputs: Tensor, members: npt.NDArray[np.bool_]) -> Tensor:
        """Compute the log odds of some classes against the rest, of shape (B,)."""

    def log_odds(self, outputs: Tensor, name: str) -> Tensor:
        """Compute the log odds of one class, or of several, against all other classes.

        Parameters
        ----------
        outputs : torch.Tensor of shape (B,) or (B, n_classes)
            Outputs of the network.
        name : str
            As in `members`.

        Returns
        -------
        torch.Tensor of shape (B,)
            Log odds, log p - log(1 - p).

        Raises
        ------
        ValueError
            If the name is not one of `explainable`.
        """
        return self._odds(outputs, self.members(name))

    def probabilities(self, outputs: Tensor) -> dict[str, npt.NDArray[np.float64]]:
        """Compute the probability of each of `labels`.

        Parameters
        ----------
        outputs : torch.Tensor of shape (B,) or (B, n_classes)
            Outputs of the network.

        Returns
        -------
        dict of str to ndarray of shape (B,)
            Probabilities by label, whose sum is 1; empty for a single COVID-19 logit.
        """
        if not self.labels:
            return {}
        columns = outputs.double().softmax(1).T.cpu().numpy()
        return dict(zip(self.labels, columns, strict=True))

    def to_dict(self) -> dict[str, object]:
        """Return the values that `from_dict` reads, for JSON.

        Returns
        -------
        dict
            Target, classes and positive classes.
        """
        return {
            "target": self.target,
            "classes": list(self.classes),
            "positive": list(self.positive),
        }

    @staticmethod
    def from_dict(values: Mapping[str, object]) -> Outputs:
        """Create outputs from the values that `to_dict` returned.

        Parameters
        ----------
        values : mapping of str to object
            Target, classes and positive classes.

        Returns
        -------
        Outputs
            The outputs.

        Raises
        ------
        ValueError
            If a value is missing or invalid.
        """
        try:
            kind = _KINDS[str(values["target"])]
            classes, positive = values["classes"], values["positive"]
        except KeyError as error:
            raise ValueError(f"outputs: unknown or missing {error}") from error
        if not isinstance(classes, list | tuple) or not isinstance(positive, list | tuple):
            raise ValueError(f"outputs: classes must be names, got {classes!r}, {positive!r}")
        return kind(tuple(classes), tuple(positive))


def outputs_of(model: nn.Module) -> Outputs:
    """Return the attribute ``outputs`` of a network, or by default one COVID logit."""
    outputs: Outputs = getattr(model, "outputs", CovidOutput())
    return outputs


@dataclass(frozen=True)
class CovidOutput(Outputs):
    """One output, the logit of COVID-19 against the rest.

    Parameters
    ----------
    classes : tuple of (str, str), default=("non-COVID", "COVID")
        Names of class 0 and class 1.
    positive : tuple of str, default=("COVID",)
        Class 1.

    Examples
    --------
    >>> import torch
    >>> from covidct.models import CovidOutput
    >>> CovidOutput().covid_logit(torch.tensor([0.5, -2.0]))
    tensor([ 0.5000, -2.0000])
    """

    classes: tuple[str, ...] = ("non-COVID", "COVID")
    positive: tuple[str, ...] = ("COVID",)

    target = "covid"
    size = 1
    labels = ()

    def _odds(self, outputs: Tensor, members: npt.NDArray[np.bool_]) -> Tensor:
        return outputs if members[1] else -outputs

    def encode(
        self, labels: npt.NDArray[np.str_], targets: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.int64]:
        """Return the targets."""
        del labels
        return np.asarray(targets, dtype=np.int64)


@dataclass(frozen=True)
class LabelOutputs(Outputs):
    r"""One output per label; a softmax over them gives the probabilities.

    The COVID logit of outputs :math:`z` is the logarithm of the odds of the positive labels
    :math:`P`, computed without forming a probability, which would round to 0 or 1:

    .. math:: \log\sum_{k \in P} e^{z_k} - \log\sum_{k \notin P} e^{z_k}.

    Parameters
    ----------
    classes : tuple of str
        Labels, in the order of the outputs.
    positive : tuple of str
        Labels that mean COVID-19.

    Examples
    --------
    >>> import torch
    >>> from covidct.models import LabelOutputs
    >>> outputs = LabelOutputs(("CAP", "COVID-19", "normal"), positive=("COVID-19",))
    >>> logit = outputs.covid_logit(torch.tensor([[0.0, 100.0, 0.0], [1.0, 1.0, 1.0]]))
    >>> [round(value, 3) for value in logit.tolist()]    # 100 - log 2 and -log 2
    [99.307, -0.693]
    """

    target = "label"

    @classmethod
    def of(cls, labels: npt.NDArray[np.str_], targets: npt.NDArray[np.integer]) -> LabelOutputs:
        """Create outputs for the labels of slices, in alphabetical order.

        Parameters
        ----------
        labels : ndarray of str of shape (n_slices,)
            Original labels.
        targets : ndarray of int of shape (n_slices,)
            1 for COVID-19, 0 for the rest. They decide which labels mean COVID-19.

        Returns
        -------
        LabelOutputs
            The outputs.

        Raises
        ------
        ValueError
            If a slice has no label, a label has slices of both targets, or all slices have the
            same target.
        """
        positive = {str(name) for name in np.unique(labels[targets == 1])}
        negative = {str(name) for name in np.unique(labels[targets == 0])}
        if "" in positive | negative:
            raise ValueError(
                f"target='label' needs a label for every slice, but {(labels == '').sum()} of "
                f"{len(labels)} slices have none; choose target='covid'"
            )
        if both := positive & negative:
            raise ValueError(
                f"target='label' needs labels that are COVID-19 or not, but {min(both)!r} has "
                "slices of both targets; give these slices different labels, or choose "
                "target='covid'"
            )
        return cls(tuple(sorted(positive | negative)), tuple(sorted(positive)))

    @property
    def size(self) -> int:
        """Number of labels."""
        return len(self.classes)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels."""
        return self.classes

    def _odds(self, outputs: Tensor, members: npt.NDArray[np.bool_]) -> Tensor:
        inside, outside = (np.flatnonzero(part).tolist() for part in (members, ~members))
        return outputs[:, inside].logsumexp(1) - outputs[:, outside].logsumexp(1)

    def encode(
        self, labels: npt.NDArray[np.str_], targets: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.int64]:
        """Return the position of each label in `classes`.

        Parameters
        ----------
        labels : ndarray of str of shape (n_slices,)
            Original labels.
        targets : ndarray of int of shape (n_slices,)
            Not used.

        Returns
        -------
        ndarray of int of shape (n_slices,)
            Codes.

        Raises
        ------
        UnknownNameError
            If a label is not one of the classes.
        """
        del targets
        codes = {name: code for code, name in enumerate(self.classes)}
        for name in np.unique(labels):
            if name not in codes:
                raise UnknownNameError.among("label", str(name), self.classes)
        return np.array([codes[name] for name in labels], dtype=np.int64)


_KINDS: dict[str, type[Outputs]] = {kind.target: kind for kind in (CovidOutput, LabelOutputs)}
