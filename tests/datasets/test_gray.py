from __future__ import annotations

import numpy as np
import pytest

from covidct.datasets.gray import LUNG, Window, as_window


def test_the_linear_window_ends_where_dicom_says() -> None:
    # PS3.3 C.11.2.1.2.1 for center 0 and width 100: black to -50, white from above 49.
    gray = Window(0, 100).show([-1000, -50, -49, -0.5, 48, 49, 1000])
    assert gray.tolist() == [0, 0, 3, 128, 252, 255, 255]


def test_a_window_of_width_one_is_a_threshold() -> None:
    assert Window(0, 1).show([-2, -1, 0, 1]).tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("shape", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_every_shape_rises_around_its_level(shape: str) -> None:
    gray = Window(-600, 1500, shape).show(np.arange(-3000, 3000)).astype(int)
    assert (np.diff(gray) >= 0).all()
    assert gray[0] <= 1
    assert gray[-1] >= 254
    assert abs(gray[2400] - 127.5) < 1


@pytest.mark.parametrize(
    ("window", "valid"),
    [
        (Window(0, 1), True),
        (Window(0, 0.9), False),
        (Window(0, 0.9, "SIGMOID"), True),
        (Window(0, 0, "LINEAR_EXACT"), False),
        (Window(0, -5, "SIGMOID"), False),
        (Window(np.nan, 10), False),
        (Window(0, np.inf), False),
        (Window(0, 10, "CUBIC"), False),
    ],
)
def test_what_dicom_allows(window: Window, valid: bool) -> None:
    assert window.is_valid is valid


def test_choices() -> None:
    assert as_window("lung") == LUNG == (-600, 1500, "LINEAR")
    assert as_window("file") == "file"
    assert as_window("range") == "range"
    assert as_window((40, 400)) == Window(40.0, 400.0)
    with pytest.raises(ValueError, match=r"window must be .lung., .range., .file."):
        as_window("bone")
