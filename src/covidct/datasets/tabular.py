"""Reading of tables, and matching of the paths in them to files."""

from __future__ import annotations

import csv
import gzip
import io
import re
import unicodedata
import warnings
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from .._extras import require
from .._text import some
from ..errors import InvalidFileError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FileMatch", "match_files", "read_table", "require_columns", "visible"]

_EXCEL = (".xlsx", ".xlsm")
# Cells that are read as missing values: those of pandas, except "None", which may be a label.
_MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"),
)
#: Maximum size of a table in bytes; a table of half a million slices has about 50 MB.
MAX_TABLE_BYTES = 2_000_000_000


def read_table(path: Path) -> pd.DataFrame:
    r"""Read a CSV file, which may be compressed with gzip, or an Excel file as text.

    The separator (comma, semicolon, tab or vertical bar) is recognized by the header, or by Excel's
    first line ``sep=;``. The encoding is UTF-8, UTF-16 with a byte-order mark, or else cp1252
    (Windows). Empty cells and usual texts for missing values (``NA``, ``NaN``, ``NULL``, ...)
    become NaN. All other cells are kept as text, such as ``"007"`` and ``"None"``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    DataFrame of str
        Table without empty rows. Blanks around the names of columns, and invisible characters in
        them, are removed.

    Raises
    ------
    covidct.errors.InvalidFileError
        If the file is not a table, or has two columns of one name.
    FileNotFoundError
        If the file does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from covidct.datasets.tabular import read_table
    >>> path = Path(tempfile.mkdtemp(), "slices.csv")
    >>> _ = path.write_text("file;finding\n007.png;COVID-19\n", encoding="utf-8-sig")
    >>> read_table(path).to_dict("records")
    [{'file': '007.png', 'finding': 'COVID-19'}]
    """
    import pandas as pd

    try:
        if path.suffix.lower() in _EXCEL:
            require("openpyxl", extra="excel")
            table = pd.read_excel(path, dtype=str, keep_default_na=False, na_values=_MISSING)
        else:
            table = _read_csv(path)
    except FileNotFoundError:
        raise
    except (ValueError, OSError, KeyError, csv.Error, pd.errors.ParserWarning) as error:
        raise InvalidFileError(
            f"{str(path)!r} cannot be read as a table ({str(error).strip()}); save it as CSV in "
            "UTF-8 with a header line"
        ) from error
    table.columns = [visible(str(name)) for name in table.columns]
    return table.dropna(how="all").reset_index(drop=True)


def require_columns(table: pd.DataFrame, columns: Iterable[str], *, origin: str) -> None:
    """Check that a table has the columns that its reader needs.

    Parameters
    ----------
    table : DataFrame
        The table.
    columns : iterable of str
        Names of the columns.
    origin : str
        Name of the table in the message.

    Raises
    ------
    InvalidFileError
        If a column is missing.
    """
    if missing := [name for name in columns if name not in table.columns]:
        raise InvalidFileError(
            f"{origin} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{some(map(str, table.columns), limit=12)}"
        )


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    text, separator = _decoded(path)
    header = next(csv.reader(text, delimiter=separator), [])
    names = [visible(name) or f"column {i + 1}" for i, name in enumerate(header)]
    if double := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"it has the column {double[0]!r} twice")
    if not names:
        raise ValueError("it is empty")
    with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
        try:
            return pd.read_csv(
                text,
                sep=separator,
                dtype=str,
                names=names,
                index_col=False,
                skipinitialspace=True,
                keep_default_na=False,
                na_values=_MISSING,
            )
        except pd.errors.ParserWarning:
            raise ValueError(
                f"its rows have more values than its first line, {some(names, limit=5)}"
            ) from None


def _decoded(path: Path) -> tuple[io.StringIO, str]:
    """Return a stream of the text of a CSV file, and the separator."""
    size = path.stat().st_size
    if size > MAX_TABLE_BYTES:
        raise ValueError(f"it has {size:,} bytes, more than the {MAX_TABLE_BYTES:,} allowed")
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as file:
                raw = file.read(MAX_TABLE_BYTES + 1)
        except (EOFError, OSError, zlib.error):
            raise ValueError("its gzip compression is damaged") from None
        if len(raw) > MAX_TABLE_BYTES:
            raise ValueError(f"unpacked, it has more than the {MAX_TABLE_BYTES:,} bytes allowed")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = raw.decode("utf-16")
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("cp1252", errors="replace")
    if "\0" in text[:10_000]:
        raise ValueError("it is a binary file")
    stream = io.StringIO(text, newline=None)  # also reads "\r" as the end of a line
    header = stream.readline()
    if declared := re.fullmatch(r"sep=(.)\n", header):  # Excel's own line above the header
        return stream, declared[1]
    if header.lstrip()[:1] in ("{", "["):
        raise ValueError("it is JSON")
    stream.seek(0)
    return stream, max(",;\t|", key=header.count)


def visible(text: str) -> str:
    """Return text without blanks around it, and without invisible characters in it."""
    return "".join(c for c in text if unicodedata.category(c) != "Cf").strip()


class FileMatch(NamedTuple):
    """Assignment of files to the rows of a table.

    Attributes
    ----------
    row_of : ndarray of int of shape (n_files,)
        Row of each file; -1 for files that are not in the table.
    files_of : list of list of int
        Files of each row.
    unknown : list of str
        Paths of the table that match no file.
    twice : list of str
        Paths of the table whose file is already listed in an earlier row.
    left : list of str
        Files that are not in the table.
    """

    row_of: npt.NDArray[np.int64]
    files_of: list[list[int]]
    unknown: list[str]
    twice: list[str]
    left: list[str]


def match_files(
    listed: Sequence[object], files: Sequence[str], *, folders: bool = False
) -> FileMatch:
    r"""Match paths in a table to files.

    A path matches the file with the same relative path, with either separator (``\\`` or ``/``) and
    in any Unicode form. Without such a file, it matches the only file whose path ends with it, or
    else the only file of the same name, which allows absolute paths and paths relative to another
    folder. Suffixes may be missing in all cases.

    Parameters
    ----------
    listed : sequence of str
        Paths in the table.
    files : sequence of str
        Relative paths of the files, with forward slashes.
    folders : bool, default=False
        Let the path of a folder match every file below it.

    Returns
    -------
    FileMatch
        Pairs of rows and files, and those without a match.

    Examples
    --------
    >>> from covidct.datasets.tabular import match_files
    >>> match_files(["covid\\b.png", "a"], ["covid/a.png", "covid/b.png"]).row_of.tolist()
    [1, 0]
    """
    keys = [_key(path) for path in listed]
    found = _Index(files, folders=folders)
    files_of = [found.lookup(key) for key in keys]
    row_of = np.full(len(files), -1, np.int64)
    twice: list[str] = []
    for row, matched in enumerate(files_of):
        if any(row_of[i] >= 0 for i in matched):
            twice.append(str(listed[row]))
        for i in matched:
            if row_of[i] < 0:
                row_of[i] = row
    unknown = [str(path) for path, matched in zip(listed, files_of, strict=True) if not matched]
    left = [files[i] for i in np.flatnonzero(row_of < 0).tolist()]
    return FileMatch(row_of, files_of, unknown, twice, left)


def _key(path: object) -> str:
    """Return a path with forward slashes, in composed Unicode, without ``./``."""
    text = unicodedata.normalize("NFC", str(path).strip().strip('"')).replace("\\", "/")
    if "//" in text or "./" in text or text.endswith("/"):  # else it is normal already
        text = PurePosixPath(text).as_posix()
    return text


class _Index:
    """Files by path, folder, stem and name; each index is created when it is first used."""

    def __init__(self, files: Sequence[str], *, folders: bool) -> None:
        self._keys = [_key(file) for file in files]
        self._exact = _several(self._keys)
        self._folders = folders

    @cached_property
    def _below(self) -> dict[str, list[int]]:
        below: dict[str, list[int]] = {}
        for i, key in enumerate(self._keys) if self._folders else ():
            for parent in PurePosixPath(key).parents:
                below.setdefault(parent.as_posix(), []).append(i)
        return below

    @cached_property
    def _folded(self) -> dict[str, list[int]]:
        return _several(key.casefold() for key in self._keys)

    @cached_property
    def _stems(self) -> dict[str, list[int]]:
        return _several(map(_stem, self._keys))

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        return _several(PurePosixPath(key).name for key in self._keys)

    @cached_property
    def _by_stem(self) -> dict[str, list[int]]:
        return _several(_stem(PurePosixPath(key).name) for key in self._keys)

    def lookup(self, key: str) -> list[int]:
        """Return the files that match a path of the table."""
        if found := self._exact.get(key) or self._below.get(key.rstrip("/")):
            return found
        for found in (self._folded.get(key.casefold()), self._stems.get(_stem(key))):
            if found and len({self._keys[i] for i in found}) == 1:
                return found
        name = PurePosixPath(key).name
        for candidates in (self._by_name.get(name), self._by_stem.get(_stem(name))):
            if candidates and (best := self._agreeing(key, candidates)):
                return best
        return []

    def _agreeing(self, key: str, candidates: list[int]) -> list[int]:
        """Choose the file with the most parent folders of the path, if there is only one."""
        paths = {self._keys[i] for i in candidates}
        if len(paths) == 1:
            return candidates
        wanted = PurePosixPath(key).parts[::-1]
        agreement = {path: _common(wanted, PurePosixPath(path).parts[::-1]) for path in paths}
        most = max(agreement.values())
        best = [path for path, number in agreement.items() if number == most]
        if len(best) > 1 or most < 1:
            return []
        return [i for i in candidates if self._keys[i] == best[0]]


def _several(keys: Iterable[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        found.setdefault(key, []).append(i)
    return found


def _stem(path: str) -> str:
    for suffix in (".nii.gz", ".nrrd.gz"):
        if path.casefold().endswith(suffix):
            return path[: -len(suffix)]
    pure = PurePosixPath(path)
    # What follows a dot is a suffix only if it looks like one: "1.2.840.113" has none.
    return (
        path[: -len(pure.suffix)]
        if 2 <= len(pure.suffix) <= 6 and not pure.suffix[1:].isdigit()
        else path
    )


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    number = 0
    for one, other in zip(a, b, strict=False):
        if one != other and _stem(one) != _stem(other):
            break
        number += 1
    return number
