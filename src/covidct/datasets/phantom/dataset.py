"""Dataset of procedural phantom slices."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from ..._checks import whole
from ..._files import atomic_path, write_text
from ..ct_dataset import CTDataset
from .chest import Chest, Patient
from .lesions import OTHER_FINDINGS, Painter, ground_glass, normal
from .painting import FloatImage

__all__ = ["Phantom", "PhantomDataset", "SliceSpec", "load"]

VERSION = 1  # part of the content hash, to be raised if a pixel changes
CLASSES = ("non-COVID", "COVID")
# Labels by their number; patients have them in this order, in turn.
LABELS = {2: ("COVID", "non-COVID"), 3: ("COVID", "other", "normal")}
# Possible findings of a patient with each label, with equal probabilities.
FINDINGS: dict[str, tuple[Painter, ...]] = {
    "COVID": (ground_glass,),
    "non-COVID": OTHER_FINDINGS,
    "other": tuple(paint for paint in OTHER_FINDINGS if paint is not normal),
    "normal": (normal,),
}
# Independent streams of random numbers, so that healthy anatomy does not depend on the class.
BUILD, SLICE, DISEASE, ILLNESS = range(4)

# After an array of this size was freed, glibc reuses the memory of smaller arrays. Otherwise, half
# of the time is spent on allocating temporary arrays from the kernel.
np.empty(2**24, np.uint8)


class SliceSpec(NamedTuple):
    """Parameters that determine a slice."""

    seed: int
    patient: int
    number: int  # of the slice, from the apex down
    slices_per_patient: int
    size: tuple[int, int] | None
    label: str


class Phantom(NamedTuple):
    """One slice: display gray values (H, W) uint8, and masks (H, W) bool by name."""

    pixels: npt.NDArray[np.uint8]
    masks: dict[str, npt.NDArray[np.bool_]]


class PhantomDataset(CTDataset):
    """Dataset of procedural slices, which are computed from a seed when they are read.

    COVID slices show ground-glass opacities along the pleura; non-COVID slices are normal or show
    nodules, a consolidation, an effusion, emphysema, or the central ground glass of an oedema.
    Build, picture size, window, noise and surroundings have the same distribution in both classes,
    so that only the disease differs. The slices of a patient share all of these, so that random
    folds leak, as with real scans.

    Slice i depends on `seed`, `slices_per_patient` and `size` only, not on `n`.

    Parameters
    ----------
    n : int, default=240
        Number of slices. Slices with an even index are COVID; with three labels, every third slice
        is COVID.
    seed : int, default=0
        Random seed.
    slices_per_patient : int, default=4
        Largest number of slices of a patient.
    size : tuple of (int, int), optional
        Height and width of all slices in pixels, at least 64. By default, a size is drawn per
        patient, 140 to 348 by 210 to 400 pixels.
    labels : {2, 3}, default=2
        Number of labels: COVID and non-COVID; or COVID, other (a finding that is not COVID-19) and
        normal, with equal numbers of patients.

    Raises
    ------
    ValueError
        If `labels` is neither 2 nor 3, `n` or `slices_per_patient` is below 1, `seed` is negative,
        `size` is below 64 pixels, or one of them is not an integer.

    Examples
    --------
    >>> from covidct.datasets.phantom import PhantomDataset
    >>> dataset = PhantomDataset(n=8, seed=0)
    >>> dataset
    PhantomDataset 'phantom': 8 slices (4 COVID, 4 non-COVID), 2 patients
    >>> dataset.names[0]
    'COVID/patient-0000/slice-0.png'
    >>> sorted(dataset.masks(0))
    ['finding', 'lesion', 'lung']
    """

    def __init__(
        self,
        *,
        n: int = 240,
        seed: int = 0,
        slices_per_patient: int = 4,
        size: tuple[int, int] | None = None,
        labels: Literal[2, 3] = 2,
    ) -> None:
        n = whole("n", n)
        if labels not in LABELS:
            raise ValueError(f"labels must be 2 or 3, got {labels!r}")
        self.seed = whole("seed", seed, least=0)
        self.slices_per_patient = whole("slices_per_patient", slices_per_patient)
        if size is not None:
            height, width = size
            size = whole("height", height, least=64), whole("width", width, least=64)
        self.size = size
        turn, place = np.divmod(np.arange(n), labels * self.slices_per_patient)
        # Patients, one per label, take turns: every n >= labels is balanced.
        self._patients, self._numbers = labels * turn + place % labels, place // labels
        names = np.array(LABELS[labels])[place % labels]
        targets = (names == CLASSES[1]).astype(np.int64)
        groups = [f"patient-{patient:04d}" for patient in self._patients]
        paths = [
            Path(label, group, f"slice-{number}.png")
            for label, group, number in zip(names, groups, self._numbers, strict=True)
        ]
        super().__init__(paths, targets, groups, labels=names, classes=CLASSES, name="phantom")

    def read(self, index: int) -> Image.Image:
        """Return one slice as 8-bit gray."""
        return Image.fromarray(self._make(index).pixels)

    def masks(self, index: int) -> dict[str, npt.NDArray[np.bool_]]:
        """Return the masks of one slice.

        Parameters
        ----------
        index : int
            Position of the slice.

        Returns
        -------
        dict of str to ndarray of bool of shape (height, width)
            ``"lung"``: both lungs, lesions included. ``"lesion"``: ground-glass opacities,
            empty in non-COVID slices. ``"finding"``: other disease, empty in COVID slices.
        """
        return {name: mask.copy() for name, mask in self._make(index).masks.items()}

    def subset(self, index: npt.ArrayLike) -> PhantomDataset:
        """Return the dataset of the chosen slices, in the order of `index`."""
        part = super().subset(index)
        chosen = self._positions(index)
        part._patients, part._numbers = self._patients[chosen], self._numbers[chosen]
        return part

    def content_hash(self) -> str:
        """Return a SHA-256 of all parameters on which pixels and targets depend."""
        facts = [VERSION, self.seed, self.slices_per_patient, self.size, self.names]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def save(self, root: str | os.PathLike[str]) -> None:
        """Write the slices as PNG files in class folders, and ``groups.csv``.

        ``covidct.load_dataset("folder", root)`` then returns the same pixels, targets and groups.

        Parameters
        ----------
        root : str or path-like
            Folder to write into; created if necessary.

        Examples
        --------
        >>> import tempfile
        >>> import covidct
        >>> root = tempfile.mkdtemp()
        >>> covidct.load_dataset("phantom", n=2).save(root)
        >>> covidct.load_dataset("folder", root)
        CTDataset 'folder': 2 slices (1 COVID, 1 non-COVID), 2 patients
        """
        folder = Path(root)
        for index in tqdm(range(len(self)), "phantoms", leave=False, disable=None):
            with atomic_path(folder / self.names[index]) as temporary:
                self.read(index).save(temporary, format="PNG")
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("path", "group"))
        writer.writerows((name, name.split("/")[1]) for name in self.names)
        write_text(folder / "groups.csv", table.getvalue())

    def _check_files(self) -> None:
        """Accept all paths: they are names without files."""

    def _make(self, index: int) -> Phantom:
        return _make(
            SliceSpec(
                seed=self.seed,
                patient=int(self._patients[index]),
                number=int(self._numbers[index]),
                slices_per_patient=self.slices_per_patient,
                size=self.size,
                label=str(self.labels[index]),
            )
        )


def load(
    *,
    n: int = 240,
    seed: int = 0,
    slices_per_patient: int = 4,
    size: tuple[int, int] | None = None,
    labels: Literal[2, 3] = 2,
) -> PhantomDataset:
    """Create the dataset ``"phantom"`` with the options of :class:`PhantomDataset`."""
    return PhantomDataset(
        n=n, seed=seed, slices_per_patient=slices_per_patient, size=size, labels=labels
    )


@lru_cache(maxsize=2)  # the masks of a slice are usually read right after its pixels
def _make(spec: SliceSpec) -> Phantom:
    seed, patient, number = spec.seed, spec.patient, spec.number
    build = Patient.draw(_generator(seed, BUILD, patient))
    rng = _generator(seed, SLICE, patient, number)
    level = 0.15 + 0.75 * (number + rng.uniform(0.2, 0.8)) / spec.slices_per_patient
    chest = Chest(build, level, rng, size=spec.size)
    findings = FINDINGS[spec.label]
    paint = findings[_generator(seed, ILLNESS, patient).integers(len(findings))]
    lung = chest.lung > 0
    diseased = paint(chest, _generator(seed, DISEASE, patient, number)) & lung
    nothing = np.zeros_like(diseased)
    masks = {
        "lesion": diseased if paint is ground_glass else nothing,
        "finding": nothing if paint is ground_glass else diseased,
        "lung": lung,
    }
    return Phantom(_scan(chest, rng), masks)


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def _scan(chest: Chest, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Blur, add noise, and apply the patient's window."""
    patient = chest.patient
    image = chest.hu
    soft = _smooth(image)
    image = soft + np.float32(patient.sharpness) * (image - soft)
    image += _noise(rng, image.shape) * np.float32(patient.noise)
    image -= np.float32(patient.level - patient.window / 2)
    image *= np.float32(255 / patient.window)
    if patient.round_view:
        image *= chest.coverage(np.float32(1.08) - np.sqrt(chest.x * chest.x + chest.y * chest.y))
    np.rint(image, out=image)
    pixels: npt.NDArray[np.uint8] = np.clip(image, 0, 255, out=image).astype(np.uint8)
    return pixels


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatImage:
    """Return nearly normal noise of unit variance, with the grain of a reconstruction."""
    height, width = shape
    # The sum of four bytes has variance 4 (256^2 - 1) / 12; [1 2 1] / 4 keeps 3/8 of it per axis.
    words = rng.integers(0, 2**64, (height * width + 1) // 2, np.uint64).astype("<u8")
    grain = words.view(np.uint8)[: 4 * height * width].reshape(4, height, width)
    noise = _smooth(grain.sum(0, np.float32) - np.float32(4 * 127.5))
    noise *= np.float32(1 / (3 / 8 * (4 * (256**2 - 1) / 12) ** 0.5))
    return noise


def _smooth(image: FloatImage) -> FloatImage:
    """Convolve with [1 2 1] / 4 along both axes; the border repeats."""
    for _ in range(2):
        quarter = image * np.float32(0.25)
        image = quarter + quarter
        image[1:] += quarter[:-1]
        image[:-1] += quarter[1:]
        image[[0, -1]] += quarter[[0, -1]]
        image = image.T
    return image
