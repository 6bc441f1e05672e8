"""The Basic Application Level Confidentiality Profile of DICOM PS3.15 annex E: what it wants of each attribute.

The table (E.1-1, edition 2026c) is kept by the library dicom-anonymizer. Only its table is used: its own walk does
not enter sequences, writes dates of the year 1 where it should remove them, and knows no key for its UIDs.
"""

from __future__ import annotations

from functools import cache

EDITION = "2026c"
_ACTIONS = {
    "X_TAGS": "X",
    "Z_TAGS": "Z",
    "D_TAGS": "D",
    "U_TAGS": "U",
    "Z_D_TAGS": "Z/D",
    "X_Z_TAGS": "X/Z",
    "X_D_TAGS": "X/D",
    "X_Z_D_TAGS": "X/Z/D",
    "X_Z_U_STAR_TAGS": "X/Z/U*",
}


@cache
def _table() -> dict[tuple[int, ...], str]:
    """Action of (group, element), and of (group, element, group mask, element mask) for repeating groups."""
    from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table

    return {tuple(tag): action for name, action in _ACTIONS.items() for tag in getattr(table, name)}


def action(group: int, element: int) -> str:
    """What the profile asks for: "X" remove, "Z" empty, "D" dummy, "U" new UID, or a choice ("X/Z"); "" for nothing."""
    table = _table()
    if (group, element) in table:
        return table[group, element]
    for tag, wanted in table.items():
        if len(tag) == 4 and group & tag[2] == tag[0] and element & tag[3] == tag[1]:
            return wanted
    return ""
