"""Training recipe: all options of a training as one frozen value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

from .._checks import number, whole
from ..errors import UnknownNameError

if TYPE_CHECKING:
    from ..models.info import ArchitectureInfo

__all__ = ["RECIPES", "Augmentation", "Recipe"]

# Largest side of a canvas in pixels; a slice has 512.
_LARGEST = 4096
_CHOICES = {
    "class_weight": (None, "balanced"),
    "optimizer": ("lamb", "adamw", "sgd"),
    "resize": ("pad", "stretch"),
    "strategy": ("fine-tuning", "feature-extraction"),
}


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Ranges of the random augmentation of training slices; 0 switches an operation off.

    Numbers are drawn separately for each slice. The paper (section 3.3) names the operations but no
    ranges, except for the probability of the blur; the other ranges are choices of this library.

    Parameters
    ----------
    crop : float, default=0.2
        Largest share of each side that a random crop removes, in [0, 0.95]. The crop keeps the
        aspect ratio and is scaled back to the canvas.
    blur_probability : float, default=0.25
        Probability of a Gaussian blur, in [0, 1].
    blur_sigma : float, default=1.5
        Largest standard deviation of the blur in pixels, in [0, 10]; drawn from (0, blur_sigma].
    noise : float, default=0.05
        Largest standard deviation of additive Gaussian noise, as a fraction of white, in [0, 1].
    brightness : float, default=0.2
        Brightness is multiplied by a factor from [1 - brightness, 1 + brightness].
    contrast : float, default=0.2
        Differences from the mean gray value are multiplied by a factor from
        [1 - contrast, 1 + contrast].
    flip_probability : float, default=0.5
        Probability of a horizontal flip, in [0, 1].
    rotation : float, default=0.0
        Largest rotation in degrees in either direction, in [0, 180]. The paper found that rotation
        makes results worse.
    shear : float, default=0.0
        Largest horizontal shear in degrees in either direction, in [0, 60]. The paper found that
        shear makes results worse, too.

    Raises
    ------
    ValueError
        If a value is not a number or outside its range.

    Examples
    --------
    >>> from covidct.training import Augmentation
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
        """Return an augmentation with every operation switched off.

        Returns
        -------
        Augmentation
            All values are 0.

        Examples
        --------
        >>> from covidct.training import Augmentation
        >>> Augmentation.none().noise
        0.0
        """
        return cls(**{option.name: 0.0 for option in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Training recipe; the defaults are the paper's (section 3.3).

    :meth:`modern` returns a recipe of current practice for fine-tuning.

    Parameters
    ----------
    epochs : int, default=100
        Number of passes over the training slices.
    batch_size : int, default=32
        Largest number of slices per step. An epoch of n slices has ceil(n / batch_size) batches,
        whose sizes differ by at most one.
    learning_rate : float, default=3e-4
        Learning rate until the first milestone, or at the start of the cosine.
    milestones : sequence of (int, float) or "cosine", \
            default=((50, 1e-4), (70, 3e-5), (80, 1e-5), (90, 3e-6))
        Pairs (epoch, learning rate): the learning rate from that epoch on. The first epoch is 0.
        ``"cosine"``: from `learning_rate` to 0 along half a period of a cosine [1]_.
    warmup : int, default=0
        Number of first epochs in which the learning rate rises linearly to `learning_rate`; fewer
        than `epochs`.
    first_layer_rate : float, default=1.0
        Learning rate of the first layer as a fraction of that of the head, in (0, 1]. The layers in
        between are interpolated geometrically by their depth, as in layer-wise decay [2]_.
    label_smoothing : float, default=0.0
        Share by which the targets of the training move to equal probabilities, in [0, 1) [3]_.
    average_decay : float, default=0.0
        Decay of an exponential moving average of the weights, in [0, 1); the average is the fitted
        network. 0 keeps the weights of the last step. The decay rises from a small value during the
        first steps, so that the influence of the initial weights decays quickly.
    optimizer : {"lamb", "adamw", "sgd"}, default="lamb"
        :class:`covidct.Lamb`, :class:`torch.optim.AdamW` or :class:`torch.optim.SGD` with a
        momentum of 0.9. The default learning rate and weight decay are for LAMB only.
    weight_decay : float, default=1.0
        Weight decay; decoupled from the gradient for LAMB and AdamW.
    decay_norm_and_bias : bool, default=True
        Apply the weight decay to biases and normalization layers as well: to all tensors of one
        dimension. The paper does not mention an exception.
    betas : tuple of (float, float), default=(0.9, 0.999)
        Decay rates of the moving averages of LAMB and AdamW, in [0, 1).
    clamp_value : float, default=10.0
        Upper bound on the norm of the weights in LAMB's trust ratio.
    debias : bool, default=False
        Apply the bias correction in LAMB.
    adam : bool, default=False
        Use a trust ratio of 1 in LAMB, which makes it Adam with decoupled weight decay.
    strategy : {"fine-tuning", "feature-extraction"}, default="fine-tuning"
        Train all weights, or only the head.
    canvas : {"custom", "default"} or tuple of (int, int), default="custom"
        ``"custom"``: the canvas that Table 1 of the paper gives for the network. ``"default"``: the
        input size of the ImageNet weights. Or (height, width) in pixels, at most 4096 each.
    resize : {"pad", "stretch"}, default="pad"
        ``"pad"`` keeps the aspect ratio of a slice and pads it, ``"stretch"`` fills the canvas.
    pos_weight : float, default=1.0
        Weight of the COVID-19 slices in the loss, relative to the other slices.
    class_weight : {"balanced"} or None, default=None
        ``"balanced"`` weighs each class in the loss by the inverse of its share in the training
        slices; `pos_weight` multiplies the weight of COVID-19.
    augmentation : Augmentation, default=Augmentation()
        Random augmentation of training slices.

    Raises
    ------
    ValueError
        If a value is of the wrong type, outside its range or not one of the choices.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter, "SGDR: Stochastic gradient descent with warm restarts",
       2017.
    .. [2] J. Howard and S. Ruder, "Universal language model fine-tuning for text classification",
       2018.
    .. [3] C. Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016.

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
    milestones: tuple[tuple[int, float], ...] | Literal["cosine"] = (
        (50, 1e-4),
        (70, 3e-5),
        (80, 1e-5),
        (90, 3e-6),
    )
    warmup: int = 0
    first_layer_rate: float = 1.0
    label_smoothing: float = 0.0
    average_decay: float = 0.0
    optimizer: Literal["lamb", "adamw", "sgd"] = "lamb"
    weight_decay: float = 1.0
    decay_norm_and_bias: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    clamp_value: float = 10.0
    debias: bool = False
    adam: bool = False
    strategy: Literal["fine-tuning", "feature-extraction"] = "fine-tuning"
    canvas: Literal["custom", "default"] | tuple[int, int] = "custom"
    resize: Literal["pad", "stretch"] = "pad"
    pos_weight: float = 1.0
    class_weight: Literal["balanced"] | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        self._make_plain()
        self._check_ranges()
        for option in ("decay_norm_and_bias", "debias", "adam"):
            if not isinstance(getattr(self, option), bool):
                raise ValueError(f"{option} must be True or False, got {getattr(self, option)!r}")
        for option, choices in _CHOICES.items():
            if getattr(self, option) not in choices:
                offer = ", ".join(map(repr, choices))
                raise ValueError(f"{option} must be one of {offer}, got {getattr(self, option)!r}")

    def _make_plain(self) -> None:
        plain = {
            "epochs": whole("epochs", self.epochs),
            "batch_size": whole("batch_size", self.batch_size),
            "learning_rate": number("learning_rate", self.learning_rate),
            "warmup": whole("warmup", self.warmup, least=0),
            "first_layer_rate": number("first_layer_rate", self.first_layer_rate),
            "label_smoothing": number("label_smoothing", self.label_smoothing),
            "average_decay": number("average_decay", self.average_decay),
            "weight_decay": number("weight_decay", self.weight_decay),
            "betas": _betas(self.betas),
            "clamp_value": number("clamp_value", self.clamp_value),
            "pos_weight": number("pos_weight", self.pos_weight),
            "milestones": _milestones(self.milestones),
            "canvas": _canvas(self.canvas),
        }
        for option, value in plain.items():
            object.__setattr__(self, option, value)

    def _check_ranges(self) -> None:
        positive = [(o, getattr(self, o)) for o in ("learning_rate", "clamp_value", "pos_weight")]
        steps = () if isinstance(self.milestones, str) else self.milestones
        for option, value in positive + [("milestones", rate) for _, rate in steps]:
            if not 0 < value < float("inf"):
                raise ValueError(f"{option} must be positive and finite, got {value!r}")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay must be 0 or more, got {self.weight_decay!r}")
        if not 0 < self.first_layer_rate <= 1:
            raise ValueError(
                f"first_layer_rate must be above 0 and at most 1, got {self.first_layer_rate!r}"
            )
        for option in ("label_smoothing", "average_decay"):
            if not 0 <= getattr(self, option) < 1:
                raise ValueError(
                    f"{option} must be 0 or more and below 1, got {getattr(self, option)!r}"
                )
        if self.warmup >= self.epochs:
            raise ValueError(
                f"warmup must be fewer epochs than epochs={self.epochs}, got {self.warmup!r}"
            )
        if [epoch for epoch, _ in steps] != sorted(epoch for epoch, _ in steps):
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
        """Return a short recipe that trains a small network on phantoms in about a minute.

        In a step of LAMB, a tensor moves by at most the learning rate times its norm, so that a
        shortened schedule of the paper's hardly changes the weights; this recipe uses AdamW, on
        small canvases.

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

    @classmethod
    def modern(cls) -> Recipe:
        """Return a recipe of current practice for fine-tuning ImageNet weights.

        It uses AdamW with a warm-up and a cosine schedule, smaller learning rates in the first
        layers, label smoothing and an average of the weights.

        Returns
        -------
        Recipe
            Recipe of 20 epochs.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe.modern().optimizer
        'adamw'
        """
        return cls(
            epochs=20,
            learning_rate=5e-4,
            milestones="cosine",
            warmup=2,
            first_layer_rate=0.1,
            label_smoothing=0.1,
            average_decay=0.98,
            optimizer="adamw",
            weight_decay=0.05,
            decay_norm_and_bias=False,
        )

    def rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch.

        Parameters
        ----------
        epoch : int
            Index of the epoch, from 0.

        Returns
        -------
        float
            Learning rate.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe().rate_at(75)
        3e-05
        """
        if epoch < self.warmup:
            return self.learning_rate * (epoch + 1) / (self.warmup + 1)
        if isinstance(self.milestones, str):
            progress = (epoch - self.warmup) / (self.epochs - self.warmup)
            return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2
        passed = [rate for start, rate in self.milestones if start <= epoch]
        return passed[-1] if passed else self.learning_rate

    def canvas_size(self, info: ArchitectureInfo) -> tuple[int, int]:
        """Return the canvas size that this recipe uses for a network.

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
        """Return a copy with some options changed.

        Parameters
        ----------
        **changes
            Options and their new values.

        Returns
        -------
        Recipe
            The changed copy.

        Raises
        ------
        ValueError
            If an option is unknown, or a value is not valid for it.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe().replace(batch_size=16).batch_size
        16
        """
        _refuse_unknown(changes, Recipe)
        return replace(self, **changes)

    def scaled(self, epochs: int) -> Recipe:
        """Return a copy with a longer or shorter schedule.

        Milestones and the end of the warm-up move in proportion.

        Parameters
        ----------
        epochs : int
            New number of epochs, at least 1.

        Returns
        -------
        Recipe
            The scaled copy.

        Raises
        ------
        ValueError
            If `epochs` is not a positive integer.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe().scaled(30).milestones[0]
        (15, 0.0001)
        """
        factor = epochs / self.epochs
        milestones = self.milestones
        if not isinstance(milestones, str):
            milestones = tuple((round(start * factor), rate) for start, rate in milestones)
        warmup = min(round(self.warmup * factor), epochs - 1)
        return replace(self, epochs=epochs, milestones=milestones, warmup=warmup)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values, for JSON.

        Returns
        -------
        dict of str to object
            Options by name, those of the augmentation in a nested dict; read by
            :meth:`from_dict`.

        Examples
        --------
        >>> import covidct
        >>> covidct.Recipe().to_dict()["optimizer"]
        'lamb'
        """
        return asdict(self)

    def options(self) -> dict[str, Any]:
        """Return the options by their names in ``--set`` of the command line.

        Returns
        -------
        dict of str to object
            Values by name; the names of augmentation options are dotted.

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
        """Create a recipe from the output of :meth:`to_dict`.

        Parameters
        ----------
        values : mapping of str to object
            Options and their values; missing options have their defaults.

        Returns
        -------
        Recipe
            The recipe.

        Raises
        ------
        ValueError
            If an option is unknown, or a value is not valid for it.

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
                raise ValueError(
                    f"augmentation must map options to values, got {options['augmentation']!r}"
                )
            _refuse_unknown(options["augmentation"], Augmentation)
            options["augmentation"] = Augmentation(**options["augmentation"])
        return cls(**options)


#: Recipes by the names that the command line uses.
RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "paper": Recipe,
    "modern": Recipe.modern,
    "demo": Recipe.demo,
}


def _milestones(milestones: object) -> tuple[tuple[int, float], ...] | str:
    if milestones == "cosine":
        return "cosine"
    try:
        return tuple((int(epoch), float(rate)) for epoch, rate in milestones)  # type: ignore[attr-defined]  # a TypeError is caught below
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"milestones must be pairs (epoch, learning rate) or 'cosine', got {milestones!r}"
        ) from error


def _betas(betas: object) -> tuple[float, float]:
    values = tuple(betas) if isinstance(betas, list | tuple) else ()
    if len(values) != 2 or not all(isinstance(b, Real) and 0 <= float(b) < 1 for b in values):
        raise ValueError(f"betas must be two numbers in [0, 1), got {betas!r}")
    return float(values[0]), float(values[1])


def _canvas(value: Any) -> Any:
    """Return a size from any library as a tuple of Python ints; other values stay as they are."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return tuple(int(n) if isinstance(n, Integral) else n for n in value)


def _is_size(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(type(n) is int and 0 < n <= _LARGEST for n in value)
    )


def _refuse_unknown(options: Mapping[str, Any], kind: type) -> None:
    known = [option.name for option in fields(kind)]
    noun = f"{kind.__name__} option"
    for option in options:
        if option not in known:
            raise UnknownNameError.among(noun, option, known)
