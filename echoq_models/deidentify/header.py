"""Cleaning a DICOM header: a data set in, a new one out that holds what a loop needs and nothing of a person.

PS3.15's basic profile (`profile.py`) decides for what it names, `kept.py` for all the rest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from echoq_models.deidentify import kept, profile, values
from echoq_models.deidentify.pseudonyms import Pseudonyms, identity_of

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset
    from pydicom.tag import BaseTag


# What EchoQ writes of its own work into headers (`cine.dicom_derive.Provenance`)
_DONE = re.compile(
    r"EchoQ (\d[\w.+-]{0,23}): (denoised by (?:model )?[a-z0-9_-]{1,24})\b(?:.*\bsha256 ([0-9a-f]{64})\b)?", re.DOTALL
)
_CODE = ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")


@dataclass(frozen=True)
class HeaderOptions:
    """What of a header is kept beyond the basic profile.

    dates: "remove" empties or drops them; "shift" moves each patient's by a number of days of their own and keeps the
    times of day.  characteristics: keep age (over 89: 90), sex, height and weight.
    """

    dates: Literal["remove", "shift"] = "remove"
    characteristics: bool = False


@dataclass(frozen=True)
class HeaderReport:
    """What became of a header's attributes, by name ("(0010,0010) PatientName") and never by value.

    Nested ones are named with the sequence they lie in, once for all its items; of private ones only how many.
    """

    removed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    private_removed: int = 0


@dataclass
class _Notes:
    """A report in the making."""

    removed: Counter[str] = field(default_factory=Counter)
    replaced: Counter[str] = field(default_factory=Counter)
    private: int = 0

    def report(self) -> HeaderReport:
        return HeaderReport(tuple(self.removed), tuple(self.replaced), self.private)


def clean_header(header: Dataset, names: Pseudonyms, options: HeaderOptions) -> tuple[Dataset, HeaderReport]:
    """A new header without what names a person, and what was done to each attribute.

    header: as read, without pixel data; it is not changed. What cannot be parsed is removed. The result says that the
    patient's identity was removed, nothing of the pixels: see `declare`. It needs no character set: it is ASCII.
    """
    from echoq_models.cine.dicom_header import quiet

    with quiet():
        identity = identity_of(header)
        cleaner = _Cleaner(names, options, names.patient(identity), names.days(identity), _palette(header))
        cleaned = cleaner.clean(header, "")
        cleaned.PatientName = cleaned.PatientID = cleaner.patient
        for keyword in ("PatientBirthDate", "PatientSex"):
            if keyword not in cleaned:
                setattr(cleaned, keyword, "")
        for keyword, table in cleaner.palette.items():  # where the source has segmented ones
            setattr(cleaned, keyword, table)
        _keep_history(header, cleaned)
        cleaned.PatientIdentityRemoved = "YES"
        cleaned.LongitudinalTemporalInformationModified = "MODIFIED" if options.dates == "shift" else "REMOVED"
    return cleaned, cleaner.notes.report()


class _Cleaner:
    """Goes through one header."""

    def __init__(
        self, names: Pseudonyms, options: HeaderOptions, patient: str, days: int, palette: dict[str, bytes]
    ) -> None:
        self.names, self.options, self.patient, self.days, self.palette = names, options, patient, days, palette
        self.notes = _Notes()

    def clean(self, data: Dataset, inside: str) -> Dataset:
        """A cleaned copy; `inside` names the sequences around it."""
        from pydicom import Dataset

        cleaned = Dataset()
        for tag, element in _elements(data):
            if tag.is_private:
                self.notes.private += 1
                continue
            new, name = self._one(tag, element, inside)
            if new is not None:
                cleaned.add(new)
                if element is None or values.listed(new.value) != values.listed(element.value):
                    self.notes.replaced[name] += 1
            elif tag.element:  # group lengths are no loss
                self.notes.removed[name] += 1
        return cleaned

    def _one(self, tag: BaseTag, element: DataElement | None, inside: str) -> tuple[DataElement | None, str]:
        """What an element becomes, None when it goes, and its name."""
        from pydicom import DataElement
        from pydicom.datadict import dictionary_VR, keyword_for_tag

        keyword = keyword_for_tag(tag)
        name = f"{inside}({tag.group:04X},{tag.element:04X}) {keyword or 'unknown'}"
        if element is None or not keyword:
            return None, name
        vr = _plain_vr(dictionary_VR(tag), element.VR)
        try:
            value = self._value(keyword, vr, tag, element.value, f"{name} > ")
        except Exception:  # a damaged value raises whatever its bytes provoke
            value = None
        return (None if value is None else DataElement(tag, vr, value)), name

    def _value(self, keyword: str, vr: str, tag: BaseTag, value: Any, inside: str) -> Any:
        """The new value, None when the element goes."""
        allowed = self._optional(keyword, vr, value)
        if allowed is None:
            allowed = self._kept(keyword, vr, value, inside)
        if allowed is not None:
            return allowed
        wanted = profile.action(tag.group, tag.element)
        if wanted == "U" and vr == "UI":
            uids = [self.names.uid(str(uid)) for uid in values.listed(value) if str(uid).strip(" \0")]
            return uids or None
        if keyword in kept.EMPTIED or (keyword == "PatientOrientation" and not values.listed(value)):
            return ""
        return None

    def _optional(self, keyword: str, vr: str, value: Any) -> Any:
        """What the profile's options keep of what its table removes."""
        if self.options.dates == "shift" and keyword in kept.DATES and values.listed(value):
            return values.moved(value, vr, self.days)
        if not self.options.characteristics or keyword not in kept.CHARACTERISTICS or not values.listed(value):
            return None
        if keyword == "PatientAge":
            return values.age(value)
        if keyword == "PatientSex":
            return values.terms(value, frozenset("MFO"))
        return values.numbers(value, vr)

    def _kept(self, keyword: str, vr: str, value: Any, inside: str) -> Any:
        """What a loop needs, in its own words; None for all else."""
        if keyword in ("PatientName", "PatientID"):
            return self.patient
        if keyword in self.palette:
            return self.palette[keyword]
        if keyword in kept.NUMBERS and (self.palette or not keyword.endswith("LookupTableDescriptor")):
            return values.numbers(value, vr)
        if keyword in kept.TERMS:
            return values.terms(value, kept.TERMS[keyword])
        if keyword in kept.POINTERS:
            pointers = values.listed(value)
            return pointers if kept.POINTERS[keyword].issuperset(map(int, pointers)) else None
        if keyword == "ImageType":
            return values.image_type(value)
        if keyword == "Manufacturer":
            return values.vendor(value)
        if keyword in kept.VIEWS:
            return values.view(value)
        if keyword in kept.CLASSES:
            return _defined_class(str(value))
        if keyword in kept.CODES:
            return _coded(value)
        if keyword in kept.SEQUENCES:
            return [new for item in value if (new := self.clean(item, inside))] or None
        return None


def _elements(data: Dataset) -> Iterator[tuple[BaseTag, DataElement | None]]:
    """Every element in order; None where it cannot be parsed."""
    for tag in sorted(data.keys()):
        try:
            yield tag, data[tag]
        except Exception:  # as above
            yield tag, None


def _plain_vr(known: str, found: str) -> str:
    """The dictionary's VR; where it leaves a choice ("US or SS"), what the file chose."""
    choice = known.split(" or ")
    return found if found in choice else choice[0]


def _defined_class(uid: str) -> str | None:
    from pydicom.uid import UID, UID_dictionary

    return uid if uid in UID_dictionary and UID(uid).type == "SOP Class" else None


def _coded(items: Any) -> list[Dataset] | None:
    """Code items with the dictionary's own meaning, and modifiers among them; None when none is known."""
    from pydicom import Dataset

    found = []
    for item in items:
        scheme, value, said = (str(item.get(keyword, "")).strip(" \0") for keyword in _CODE)
        meaning = values.code(scheme, value, said)
        if meaning is None:
            continue
        new = Dataset()
        new.CodingSchemeDesignator, new.CodeValue, new.CodeMeaning = scheme, value, meaning
        for keyword in kept.CODES & set(item.dir()):
            if (modifier := _coded(item[keyword].value)) is not None:
                setattr(new, keyword, modifier)
        found.append(new)
    return found or None


def _palette(header: Dataset) -> dict[str, bytes]:
    """A palette image's tables, written anew and exactly as long as they say; none for any other image."""
    from echoq_models.cine import dicom_header, dicom_pixels

    if dicom_header.code(header, "PhotometricInterpretation") != "PALETTE COLOR":
        return {}
    try:
        tables, _ = dicom_pixels.palette_entries(header, header.original_encoding[1] is not False)
    except ValueError:
        return {}  # the pixels cannot be shown either, and the reader says so
    found = {}
    for name, table in zip(kept.PALETTE, tables, strict=True):
        bits = dicom_header.floats(header, f"{name}Descriptor")[2]
        raw = table.astype("<u2" if bits == 16 or table.max() > 255 else "u1").tobytes()
        found[f"{name}Data"] = raw + b"\0" * (len(raw) % 2)
    return found


def _keep_history(source: Dataset, cleaned: Dataset) -> None:
    """Say again what EchoQ itself did to the pixels: a denoised loop must not pass for its original."""
    from echoq_models.cine.dicom_header import value

    try:
        items = list(source["ContributingEquipmentSequence"].value or [])
    except Exception:  # absent or damaged
        return
    said = [_DONE.match(value(item, "ContributionDescription", str, "")) for item in items]
    kept_items, texts = [], []
    for version, what, weights in (match.groups() for match in said if match is not None):
        texts.append(f"EchoQ {version}: {what}, research use" + (f"; sha256 {weights}" if weights else ""))
        kept_items.append(_equipment("109102", "Processing Equipment", version, texts[-1]))
        cleaned.SeriesDescription = f"[{what}, research use]"
    if kept_items:
        cleaned.ContributingEquipmentSequence = kept_items
        cleaned.DerivationDescription = "; ".join(texts)[:1024]


def declare(cleaned: Dataset, options: HeaderOptions, *, pixels_clean: bool) -> None:
    """Say in a cleaned header how it was cleaned (PS3.15 E.1.1, CID 7050), in place.

    pixels_clean: the pixels outside the sector were blanked and no text was seen inside it: only then is Burned In
    Annotation "NO"; else it is "YES", whatever the source said.
    """
    import echoq_models

    cleaned.BurnedInAnnotation = "NO" if pixels_clean else "YES"
    did = [("113100", "Basic Application Confidentiality Profile")]
    if pixels_clean:
        did.append(("113101", "Clean Pixel Data Option"))
    if options.dates == "shift":
        did.append(("113107", "Retain Longitudinal Temporal Information Modified Dates Option"))
    if options.characteristics:
        did.append(("113108", "Retain Patient Characteristics Option"))
    cleaned.DeidentificationMethod = [f"EchoQ {echoq_models.__version__}", f"PS3.15 table E.1-1 {profile.EDITION}"]
    cleaned.DeidentificationMethodCodeSequence = [_code(value, meaning) for value, meaning in did]
    equipment = _equipment("109104", "De-identifying Equipment", echoq_models.__version__, "")
    cleaned.ContributingEquipmentSequence = [*cleaned.get("ContributingEquipmentSequence", []), equipment]


def _equipment(code: str, meaning: str, version: str, description: str) -> Dataset:
    """An item of the Contributing Equipment Sequence (PS3.3 C.12.1)."""
    from pydicom import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_code(code, meaning)]
    item.Manufacturer, item.ManufacturerModelName, item.SoftwareVersions = "EchoQ", "EchoQ", version
    if description:
        item.ContributionDescription = description
    return item


def _code(value: str, meaning: str) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
