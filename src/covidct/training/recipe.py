"""How a network is trained, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from .._checks import number, whole
from ..errors import UnknownNameError

if TYPE_CHECKING:
    from ..models.info import ArchitectureInfo

__all__ = ["Augmentation", "Recipe"]

# Pixels on a side of a canvas; a slice has 512.
_LARGEST = 4096
_CHOICES = {
    "optimizer": ("lamb", "adamw", "sgd"),
    "resize": ("pad", "stretch"),
    "strategy": ("fine-tuning", "feature-extraction"),
}


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What happens to a training slice; every number is drawn per slice, and 0 switches it off.

    The paper (section 3.3) names the operations and no ranges, but for the probability of the
    blur; the ranges are ours.

    Parameters
    ----------
    crop
        Largest share of each side that a random crop takes away, in [0, 1). The crop keeps the
        aspect ratio and is scaled back to the canvas.
    blur_probability
        Probability of a Gaussian blur.
    blur_sigma
        Largest standard deviation of the blur, in pixels, drawn from (0, blur_sigma].
    noise
        Largest standard deviation of additive Gaussian noise, as a fraction of white.
    brightness
        Brightness is multiplied by a factor from [1 - brightness, 1 + brightness].
    contrast
        Distances from the mean gray are multiplied by a factor from [1 - contrast, 1 + contrast].
    flip_probability
        Probability of a horizontal flip.
    rotation
        Largest rotation in degrees, to either side. The paper found that it makes results worse.
    shear
        Largest horizontal shear in degrees, to either side; as for the rotation.

    Raises
    ------
    ValueError
        If a number is outside its range.

    Examples
    --------
    >>> from covidct.training.recipe import Augmentation
    >>> Augmentation(rotation=10).crop
    0.2
    """

    crop: float = 0.2
    blur_probability: float = 0.25
    blur_sigma: float = 1.5
    noise: float = 0.05
    brightness: float = 0.2
    contrast: float = 0.2
    flip_probability: float = 0.5
    rotation: float = 0.0
    shear: float = 0.0

    def __post_init__(self) -> None:
        ceilings = {"blur_sigma": 10.0, "rotation": 180.0, "shear": 60.0, "crop": 0.95}
        for option, given in asdict(self).items():
            ceiling, value = ceilings.get(option, 1.0), number(option, given)
            if not 0 <= value <= ceiling:
                raise ValueError(f"{option} must be from 0 to {ceiling:g}, got {value!r}")
            object.__setattr__(self, option, value)

    @classmethod
    def none(cls) -> Augmentation:
        """Leave training slices as they are.

        Returns
        -------
        Augmentation
            With every operation switched off.

        Examples
        --------
        >>> from covidct.training.recipe import Augmentation
        >>> Augmentation.none().noise
        0.0
        """
        return cls(**{option.name: 0.0 for option in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained; the defaults are the paper's (section 3.3).

    Parameters
    ----------
    epochs
        Passes over the training slices.
    batch_size
        Slices in a step.
    learning_rate
        Learning rate of the first epochs.
    milestones
        Pairs (epoch, learning rate): from that epoch on (the first is 0), that rate.
    optimizer
        ``"lamb"`` (:class:`covidct.Lamb`), ``"adamw"`` or ``"sgd"`` (momentum 0.9). The last two
        want a learning rate and a weight decay of their own.
    weight_decay
        Decoupled for LAMB and AdamW; of all tensors, since the paper excepts none.
    strategy
        ``"fine-tuning"`` trains all weights, ``"feature-extraction"`` the new head alone.
    canvas
        ``"custom"`` for the canvas that Table 1 gives the network, ``"default"`` for the size
        that it was made for, or a (height, width) of one's own.
    resize
        ``"pad"`` keeps the aspect ratio and pads, ``"stretch"`` fills the canvas.
    pos_weight
        Weight of the COVID-19 slices in the loss, relative to the others.
    augmentation
        What happens to training slices.

    Raises
    ------
    ValueError
        If a number or a choice is outside its range.

    Examples
    --------
    >>> import covidct
    >>> recipe = covidct.Recipe()
    >>> recipe.rate_at(0), recipe.rate_at(50), recipe.rate_at(99)
    (0.0003, 0.0001, 3e-06)
    >>> recipe.scaled(10).milestones
    ((5, 0.0001), (7, 3e-05), (8, 1e-05), (9, 3e-06))
    >>> recipe.replace(resize="stretch").resize
    'stretch'
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 3e-4
    milestones: tuple[tuple[int, float], ...] = ((50, 1e-4), (70, 3e-5), (80, 1e-5), (90, 3e-6))
    optimizer: Literal["lamb", "adamw", "sgd"] = "lamb"
    weight_decay: float = 1.0
    strategy: Literal["fine-tuning", "feature-extraction"] = "fine-tuning"
    canvas: Literal["custom", "default"] | tuple[int, int] = "custom"
    resize: Literal["pad", "stretch"] = "pad"
    pos_weight: float = 1.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        self._make_plain()
        self._check_ranges()
        for option, choices in _CHOICES.items():
            if getattr(self, option) not in choices:
                offer = ", ".join(map(repr, choices))
                raise ValueError(f"{option} must be one of {offer}, got {getattr(self, option)!r}")

    def _make_plain(self) -> None:
        plain = {
            "epochs": whole("epochs", self.epochs),
            "batch_size": whole("batch_size", self.batch_size),
            "learning_rate": number("learning_rate", self.learning_rate),
            "weight_decay": number("weight_decay", self.weight_decay),
            "pos_weight": number("pos_weight", self.pos_weight),
            "milestones": _pairs(self.milestones),
            "canvas": tuple(self.canvas) if isinstance(self.canvas, list) else self.canvas,
        }
        for option, value in plain.items():
            object.__setattr__(self, option, value)

    def _check_ranges(self) -> None:
        rates = [("learning_rate", self.learning_rate), ("pos_weight", self.pos_weight)]
        for option, value in rates + [("milestones", rate) for _, rate in self.milestones]:
            if not 0 < value < float("inf"):
                raise ValueError(f"{option} must be positive and finite, got {value!r}")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay must be 0 or more, got {self.weight_decay!r}")
        if [epoch for epoch, _ in self.milestones] != sorted(epoch for epoch, _ in self.milestones):
            raise ValueError(
                f"milestones must be in the order of their epochs, got {self.milestones!r}"
            )
        if self.canvas not in ("custom", "default") and not _is_size(self.canvas):
            raise ValueError(
                "canvas must be 'custom', 'default' or (height, width) of at most "
                f"{_LARGEST} pixels each, got {self.canvas!r}"
            )

    @classmethod
    def demo(cls) -> Recipe:
        """Train a small network on a few hundred phantoms, in a minute or so.

        LAMB moves a tensor by at most the learning rate times its norm in a step, so that a short
        schedule of the paper's hardly moves anything; this recipe uses AdamW, on small canvases.

        Returns
        -------
        Recipe
            The recipe of ``covidct demo``.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe.demo().epochs < covidct.Recipe().epochs
        True
        """
        return cls(
            epochs=7,
            batch_size=16,
            learning_rate=1e-3,
            milestones=((5, 2e-4),),
            optimizer="adamw",
            weight_decay=0.05,
            canvas=(128, 168),
            augmentation=Augmentation(
                crop=0.1, blur_probability=0, noise=0.02, brightness=0.1, contrast=0.1
            ),
        )

    def rate_at(self, epoch: int) -> float:
        """Look up the learning rate of an epoch.

        Parameters
        ----------
        epoch
            The epoch; the first is 0.

        Returns
        -------
        float
            Its learning rate.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe().rate_at(75)
        3e-05
        """
        passed = [rate for start, rate in self.milestones if start <= epoch]
        return passed[-1] if passed else self.learning_rate

    def canvas_size(self, info: ArchitectureInfo) -> tuple[int, int]:
        """Return the canvas size that this recipe gives to a network.

        Parameters
        ----------
        info : ArchitectureInfo
            The network, as returned by :func:`covidct.model_info`.

        Returns
        -------
        tuple of (int, int)
            Height and width in pixels.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe(canvas="default").canvas_size(covidct.model_info("resnet18"))
        (224, 224)
        """
        if isinstance(self.canvas, str):
            return info.custom_size if self.canvas == "custom" else info.default_size
        return self.canvas

    def replace(self, **changes: Any) -> Recipe:
        """Change some options.

        Parameters
        ----------
        **changes
            Options and their new values.

        Returns
        -------
        Recipe
            A new recipe.

        Raises
        ------
        ValueError
            If there is no such option, or a value is outside its range.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe().replace(batch_size=16).batch_size
        16
        """
        _refuse_unknown(changes, Recipe)
        return replace(self, **changes)

    def scaled(self, epochs: int) -> Recipe:
        """Stretch or shorten the schedule: the milestones move in proportion.

        Parameters
        ----------
        epochs
            The new number of epochs.

        Returns
        -------
        Recipe
            A new recipe.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe().scaled(30).milestones[0]
        (15, 0.0001)
        """
        factor = epochs / self.epochs
        milestones = tuple((round(start * factor), rate) for start, rate in self.milestones)
        return replace(self, epochs=epochs, milestones=milestones)

    def to_dict(self) -> dict[str, Any]:
        """Write the recipe as plain values, for JSON.

        Returns
        -------
        dict
            What :meth:`from_dict` reads.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe().to_dict()["optimizer"]
        'lamb'
        """
        return asdict(self)

    def options(self) -> dict[str, Any]:
        """List the options, those of the augmentation by dotted names, as ``--set`` takes them.

        Returns
        -------
        dict
            Name to value.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe().options()["augmentation.flip_probability"]
        0.5
        """
        values = self.to_dict()
        augmentation = values.pop("augmentation")
        return values | {f"augmentation.{name}": value for name, value in augmentation.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Read what :meth:`to_dict` wrote.

        Parameters
        ----------
        values
            Options and their values; what is missing keeps its default.

        Returns
        -------
        Recipe
            The recipe.

        Raises
        ------
        ValueError
            If an option is unknown or outside its range.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe.from_dict(covidct.Recipe().to_dict()) == covidct.Recipe()
        True
        """
        _refuse_unknown(values, cls)
        options = dict(values)
        if "augmentation" in options:
            if not isinstance(options["augmentation"], Mapping):
                raise ValueError(f"augmentation must hold options, got {options['augmentation']!r}")
            _refuse_unknown(options["augmentation"], Augmentation)
            options["augmentation"] = Augmentation(**options["augmentation"])
        return cls(**options)


def _pairs(milestones: object) -> tuple[tuple[int, float], ...]:
    try:
        return tuple((int(epoch), float(rate)) for epoch, rate in milestones)  # type: ignore[attr-defined]  # what is no sequence is refused
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"milestones must be pairs (epoch, learning rate), got {milestones!r}"
        ) from error


def _is_size(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(type(n) is int and 0 < n <= _LARGEST for n in value)
    )


def _refuse_unknown(options: Mapping[str, Any], kind: type) -> None:
    known = [option.name for option in fields(kind)]
    what = f"{kind.__name__} option"
    for option in options:
        if option not in known:
            raise UnknownNameError.among(what, option, known)
