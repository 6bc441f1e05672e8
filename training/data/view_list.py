"""View lists: a CSV that says which view each loop of an archive shows, as view classifiers and people export them.

The columns `loop` and `view` are read, others passed over. A loop is named by its file, with or without the suffix, and
with as many of the folders above it as are needed to tell it from others: "94106955_0001", "study 2/IM0007.dcm".
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from echoq_models.errors import InputError
from echoq_models.runtime.batch_plan import LOOP_SUFFIXES

# How lists call the apical four-chamber view; capitals, spaces, hyphens and underscores do not matter.
A4C = frozenset({"a4c", "4c", "4ch", "a4ch", "ap4", "ap4c", "ap4ch", "apical4c", "apical4ch"}) | frozenset(
    f"{apical}{four}chamber{view}" for apical in ("", "apical") for four in ("4", "four") for view in ("", "view")
)
_COLUMNS = ("loop", "view")

Parts = tuple[str, ...]


def is_a4c(view: str) -> bool:
    """Whether a view's name means the apical four-chamber view."""
    return re.sub(r"[\s_-]", "", view).lower() in A4C


def refused(path: Path, files: Sequence[str]) -> list[str]:
    """For each file (relative to its archive, with "/") why the view list at `path` does not choose it, or "".

    A row that fits several files chooses none of them, and rows that disagree about a file do not choose it. Raises
    InputError when the list cannot be read.
    """
    rows = _read(path)
    by_name: dict[str, list[int]] = defaultdict(list)
    for number, (parts, _) in enumerate(rows):
        by_name[parts[-1]].append(number)
    fits = [_fitting(_parts(file), rows, by_name) for file in files]
    used = Counter(number for found in fits for number in found)
    return [_why_not([rows[n][1] for n in found if used[n] == 1], bool(found)) for found in fits]


def _fitting(parts: Parts, rows: Sequence[tuple[Parts, str]], by_name: dict[str, list[int]]) -> list[int]:
    """The rows that may mean a file: the shorter of the two paths is the end of the longer one."""
    found = []
    for number in by_name.get(parts[-1], ()):
        short, long = sorted((parts, rows[number][0]), key=len)
        if long[-len(short) :] == short:
            found.append(number)
    return found


def _why_not(views: Sequence[str], mentioned: bool) -> str:
    if not views:
        return "the view list names several files so" if mentioned else "it is not in the view list"
    other = next((view for view in views if not is_a4c(view)), None)
    return "" if other is None else f"its view in the view list is {other!r}"


def _parts(name: str) -> Parts:
    place = PurePosixPath(name.strip().replace("\\", "/"))
    return (place.with_suffix("") if place.suffix.lower() in LOOP_SUFFIXES else place).parts


def _read(path: Path) -> list[tuple[Parts, str]]:
    """Loop and view of each row that names both."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not set(_COLUMNS) <= set(reader.fieldnames or ()):
                raise InputError(f"{path} is no view list: it needs the columns loop and view.")
            rows = [(_parts(row["loop"] or ""), (row["view"] or "").strip()) for row in reader]
    except OSError as error:
        raise InputError(f"The view list {path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, csv.Error):
        raise InputError(f"{path} is no view list: it is not a CSV file in UTF-8.") from None
    return [(parts, view) for parts, view in rows if parts and view]
