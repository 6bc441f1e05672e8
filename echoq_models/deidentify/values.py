"""What an attribute's value becomes: rewritten from what it means, or None when it is not what it should be.

Nothing of the original's text passes through: numbers are parsed and printed anew, terms and words must be known ones,
codes get the dictionary's meaning.
"""

from __future__ import annotations

import datetime
import math
import re
from functools import cache
from typing import Any

from echoq_models.deidentify import kept

OLDEST_AGE = 90  # years: ages over 89 become this one, as they are rare enough to name a person
LONGEST_MEANING = 64  # letters (PS3.5 6.2, LO)
_PER_YEAR = {"Y": 1, "M": 12, "W": 52, "D": 365}
_AGE = re.compile(r"(\d{3})([DWMY])")
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)")  # with points: ACR-NEMA's
_CLOCK = r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-6]\d(?:\.\d{1,6})?)?)?"
_DATETIME = re.compile(rf"(\d{{8}})({_CLOCK})?(?:[+-]\d{{4}})?")
_HEX4 = re.compile(r"[0-9A-F]{4}")


def listed(value: Any) -> list[Any]:
    """An element's values as a list; empty for an empty one."""
    if value is None or value == "" or value == b"":
        return []
    several = hasattr(value, "__iter__") and not isinstance(value, str | bytes)
    return list(value) if several else [value]


def numbers(value: Any, vr: str) -> list[Any] | None:
    """The same finite numbers as `vr` writes them."""
    from pydicom.valuerep import DSfloat

    found: list[Any] = []
    for each in listed(value):
        try:
            number = float(str(each))
        except ValueError:
            return None
        if not math.isfinite(number):
            return None
        if vr == "DS":
            found.append(DSfloat(number, auto_format=True))
        elif vr in ("FL", "FD"):
            found.append(number)
        elif number != int(number):
            return None
        else:
            found.append(int(number))
    return found


def terms(value: Any, allowed: frozenset[str]) -> list[str] | None:
    """Defined terms, when all are allowed; [] for an empty element."""
    found = [str(each).strip(" \0") for each in listed(value)]
    return found if all(each in allowed or not each for each in found) else None


def image_type(value: Any) -> list[str] | None:
    """Image Type, with "" in place of what is no known term."""
    found = [str(each).strip(" \0") for each in listed(value)][:4]
    known = [each in kept.IMAGE_TYPES or (i == 3 and bool(_HEX4.fullmatch(each))) for i, each in enumerate(found)]
    found = [each if known[i] else "" for i, each in enumerate(found)]
    while found and not found[-1]:
        found.pop()
    return found if len(found) >= 2 and all(found[:2]) else None


def vendor(value: Any) -> str:
    """The maker's own name when it is a known one, else ""."""
    text = " ".join(re.findall(r"[a-z]+", str(value).casefold()))
    return next((name for word, name in kept.VENDORS.items() if f" {word} " in f" {text} "), "")


def view(value: Any) -> str | None:
    """A view's or stage's name, when every word of it is one of a view's name."""
    words = re.findall(r"[^\W_]+", str(value).casefold())
    rest = re.sub(r"[\w ,.()/-]", "", str(value))
    return " ".join(words).title() if words and not rest and kept.VIEW_WORDS.issuperset(words) else None


def code(scheme: str, value: str, meaning: str) -> str | None:
    """A code's meaning: the given one when DICOM's context groups know it for that code, else the first that they do.

    None when they have no such code.
    """
    known = _meanings().get((scheme, value))
    if known is None:
        return None
    return next((each for each in known if each.casefold() == meaning.casefold()), known[0])


@cache
def _meanings() -> dict[tuple[str, str], list[str]]:
    from pydicom.sr._concepts_dict import concepts
    from pydicom.sr._snomed_dict import mapping

    found: dict[tuple[str, str], list[str]] = {}
    for scheme in ("DCM", "SCT"):
        entries: dict[str, Any] = concepts[scheme]
        for entry in entries.values():
            for value, (meaning, _) in entry.items():
                if meaning.isascii() and len(meaning) <= LONGEST_MEANING:
                    found.setdefault((scheme, value), []).append(meaning)
    for old, new in mapping["SRT"].items():  # SNOMED RT, which scanners still write
        if ("SCT", new) in found:
            found.update({(scheme, old): found["SCT", new] for scheme in ("SRT", "SNM3", "99SDM")})
    return found


def age(value: Any) -> str | None:
    """An age, "090Y" for any over 89 years."""
    found = _AGE.fullmatch(str(value).strip(" \0"))
    if not found:
        return None
    years = int(found[1]) / _PER_YEAR[found[2]]
    return f"{OLDEST_AGE:03d}Y" if years >= OLDEST_AGE else found[0]


def moved(value: Any, vr: str, days: int) -> str | None:
    """A date (DA) or date and time (DT) moved by `days`; a time of day (TM) as it is. A zone is left out."""
    text = str(value).strip(" \0")
    if vr == "TM":
        text = text.replace(":", "")  # with colons: ACR-NEMA's
        return text if re.fullmatch(_CLOCK, text) else None
    found = (_DATE if vr == "DA" else _DATETIME).fullmatch(text)
    if not found:
        return None
    date = "".join(found.groups()) if vr == "DA" else found[1]
    try:
        day = datetime.date(int(date[:4]), int(date[4:6]), int(date[6:8])) + datetime.timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{day:%Y%m%d}".rjust(8, "0") + ("" if vr == "DA" else found[2] or "")
