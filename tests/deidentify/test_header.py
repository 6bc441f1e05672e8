"""Headers: nothing planted is left, what a loop needs is, and stand-ins are the same throughout."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset, config, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.tag import Tag

from echoq_desktop import cli
from echoq_models import cine, resources
from echoq_models.cine.dicom_derive import Provenance, derived_header
from echoq_models.cine.dicom_header import denoised_before
from echoq_models.cine.loop import CineLoop
from echoq_models.deidentify import HeaderOptions, Pseudonyms, clean_header, declare, kept, profile, values
from tests.deidentify import planted
from tests.make_files import DEFLATED, EXPLICIT_BIG, IMPLICIT_LITTLE, JPEG_BASELINE

KEY = b"a key of the tests"
REMOVE, SHIFT = HeaderOptions(), HeaderOptions("shift", characteristics=True)


def clean(header: Dataset, options: HeaderOptions = REMOVE, key: bytes = KEY) -> Dataset:
    return clean_header(header, Pseudonyms(key), options)[0]


def header(**elements: object) -> Dataset:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.3.4"
    data.PatientID, data.PatientName, data.StudyInstanceUID = "17", "Doe^John", "1.2.3"
    with config.disable_value_validation():
        for keyword, value in elements.items():
            setattr(data, keyword, value)
    return data


@pytest.mark.parametrize(
    ("syntax", "depth"), [(JPEG_BASELINE, 3), (IMPLICIT_LITTLE, 1), (DEFLATED, 1), (EXPLICIT_BIG, 1)]
)
def test_nothing_planted_is_found_in_what_goes_out(tmp_path: Path, syntax: str, depth: int) -> None:
    """Every text element of the dictionary, nested, private, meta, names, pixels: all that goes out is searched."""
    source, out = tmp_path / planted.WORD, tmp_path / "out"
    path, sown = planted.write_planted(source, kept.NUMBERS, syntax, depth)
    print(f"{syntax}: {sown.total} planted: {sown.counts}")
    assert sown.total > (40_000 if depth == 3 else 20_000)
    if syntax != DEFLATED:
        assert all(planted.found_in(tmp_path).values())  # the search sees them in the source
    assert cli.main(["deidentify", str(source), "-o", str(out)]) == 0
    assert planted.found_in(out) == {mark: [] for mark in planted.MARKS}
    written = next(out.rglob("*.dcm"))
    assert len(cine.read(written)) == 8
    assert cine.read(written).size == cine.read(path).size


def test_shifting_dates_lets_no_planted_name_or_date_through(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    planted.write_planted(source, kept.NUMBERS, IMPLICIT_LITTLE, 1)
    assert cli.main(["deidentify", str(source), "-o", str(out), "--dates", "shift"]) == 0
    found = planted.found_in(out)
    assert not found[planted.WORD]
    assert not found[planted.DATE]
    data = dcmread(next(out.rglob("*.dcm")))
    assert len(data.StudyDate) == 8
    assert data.StudyTime == planted.TIME  # the time of day stays


def test_what_is_kept_is_not_what_the_profile_removes() -> None:
    listed = kept.NUMBERS | set(kept.TERMS) | kept.VIEWS | kept.CODES | kept.SEQUENCES | kept.CLASSES
    tags = {keyword: Tag(tag_for_keyword(keyword)) for keyword in listed}
    named = {keyword: profile.action(tag.group, tag.element) for keyword, tag in tags.items()}
    wanted = {"SourceImageSequence": "X/Z/U*", "ReferencedImageSequence": "X/Z/U*"}
    assert {keyword: action for keyword, action in named.items() if action} == wanted


def test_the_profiles_table_is_whole() -> None:
    assert profile.action(0x0010, 0x0010) == "Z"
    assert profile.action(0x0008, 0x0018) == "U"
    assert profile.action(0x50FE, 0x3000) == "X"
    assert profile.action(0x6002, 0x4000) == "X"
    assert profile.action(0x6002, 0x0010) == ""
    assert len(profile._table()) > 600


def test_regions_times_and_heart_rate_stay() -> None:
    loop = cine.read(resources.phantom_sample()[0])
    assert loop.header is not None
    made = clean(loop.header)
    for keyword in ("FrameTime", "CineRate", "HeartRate", "RWaveTimeVector", "FrameIncrementPointer", "Rows"):
        assert made[keyword].value == loop.header[keyword].value
    assert made.SequenceOfUltrasoundRegions == loop.header.SequenceOfUltrasoundRegions
    assert made.ViewCodeSequence[0].CodeMeaning == "Apical four chamber"
    assert made.Manufacturer == "EchoQ"


def test_the_source_header_is_left_alone() -> None:
    source = header(StudyDate="20200101", SequenceOfUltrasoundRegions=[Dataset()])
    before = source.to_json()
    clean(source)
    assert source.to_json() == before


def test_one_patient_has_one_pseudonym_and_another_has_another() -> None:
    first, again = clean(header(PatientID=" 17 ")), clean(header(PatientName="Doe^J"))
    other, elsewhere = clean(header(PatientID="18")), clean(header(), key=b"another key of the tests")
    assert first.PatientID == again.PatientID == first.PatientName
    assert len({first.PatientID, other.PatientID, elsewhere.PatientID}) == 3
    assert clean(header(PatientID="")).PatientID == clean(header(PatientID="", StudyInstanceUID="9.9")).PatientID
    assert clean(header(PatientID="", PatientName="")).PatientID != clean(header(PatientID="")).PatientID


def test_references_still_match() -> None:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.3.4"
    first, second = clean(header()), clean(header(SOPInstanceUID="1.2.3.5", SourceImageSequence=[image]))
    assert second.SourceImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID != "1.2.3.4"
    assert second.SourceImageSequence[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.3.1"
    assert second.StudyInstanceUID == first.StudyInstanceUID
    assert first.SOPInstanceUID.startswith("2.25.")
    assert first.SOPInstanceUID.is_valid


def test_dates_of_one_patient_move_by_the_same_days() -> None:
    import datetime

    def day(text: str) -> datetime.date:
        return datetime.datetime.strptime(text[:8], "%Y%m%d").date()

    made = clean(
        header(StudyDate="20200229", AcquisitionDateTime="20200301235959.5+0200", StudyTime="101112", ContentDate=""),
        SHIFT,
    )
    later = clean(header(StudyDate="2021.02.28", SeriesDate="20210301"), SHIFT)
    other = clean(header(PatientID="18", StudyDate="20200229"), SHIFT)
    moved = day(made.StudyDate) - datetime.date(2020, 2, 29)
    assert datetime.timedelta(days=-3650) <= moved <= datetime.timedelta(days=-30)
    assert day(made.AcquisitionDateTime) - datetime.date(2020, 3, 1) == moved
    assert (
        day(later.StudyDate) - datetime.date(2021, 2, 28) == day(later.SeriesDate) - datetime.date(2021, 3, 1) == moved
    )
    assert day(other.StudyDate) - datetime.date(2020, 2, 29) != moved
    assert made.AcquisitionDateTime[8:] == "235959.5"
    assert made.StudyTime == "101112"
    assert made.ContentDate == ""
    assert made.PatientBirthDate == ""
    assert made.LongitudinalTemporalInformationModified == "MODIFIED"


def test_dates_go_by_default() -> None:
    made = clean(header(StudyDate="20200229", SeriesDate="20200229", StudyTime="10", AcquisitionDateTime="20200229"))
    assert made.StudyDate == made.StudyTime == ""
    assert "SeriesDate" not in made
    assert "AcquisitionDateTime" not in made
    assert made.LongitudinalTemporalInformationModified == "REMOVED"


@pytest.mark.parametrize("text", ["20201301", "2020", "20200101-20200201", "DOE", "00010105"])
def test_what_is_no_date_goes(text: str) -> None:
    source = header(StudyDate=text)
    assert clean(source, SHIFT).StudyDate == ""


@pytest.mark.parametrize(
    ("age", "kept_age"), [("054Y", "054Y"), ("089Y", "089Y"), ("090Y", "090Y"), ("101Y", "090Y"), ("999M", "999M")]
)
def test_ages_over_89_are_90(age: str, kept_age: str) -> None:
    assert clean(header(PatientAge=age), SHIFT).PatientAge == kept_age
    assert "PatientAge" not in clean(header(PatientAge=age))


def test_characteristics_stay_when_asked_for() -> None:
    source = header(PatientSex="F", PatientSize="1.71", PatientWeight="60", EthnicGroup="x", Occupation="x")
    made = clean(source, SHIFT)
    assert (made.PatientSex, float(made.PatientSize), float(made.PatientWeight)) == ("F", 1.71, 60.0)
    assert "EthnicGroup" not in made
    assert "Occupation" not in made
    assert clean(source).PatientSex == ""
    assert "PatientSize" not in clean(source)


def test_words_are_kept_only_where_all_of_them_are_known() -> None:
    assert values.view("Apical 4-chamber") == "Apical 4 Chamber"
    assert values.view("Apical Doe") is None
    assert values.vendor("GE Vingmed Ultrasound") == "GE Healthcare"
    assert values.vendor("Doe Ultrasound, gently") == ""
    assert values.code("SRT", "G-A19B", "Doe") == "Apical two chamber"
    assert values.code("SCT", "399214001", "apical four chamber") == "Apical four chamber"
    assert values.code("DCM", "DOE", "Doe") is None
    assert values.image_type(["ORIGINAL", "PRIMARY", "DOE", "0011"]) == ["ORIGINAL", "PRIMARY", "", "0011"]
    assert values.terms(["RIGHT", "DOE"], frozenset(["RIGHT"])) is None


def test_numbers_are_printed_anew() -> None:
    assert [str(number) for number in values.numbers("33.670033670", "DS") or ()] == ["33.67003367"]
    assert values.numbers("12 Doe", "DS") is None
    assert values.numbers("nan", "DS") is None
    assert values.numbers(2.5, "US") is None
    assert values.numbers("", "IS") == []


def test_a_damaged_element_goes_and_costs_nothing_else() -> None:
    from pydicom.dataelem import RawDataElement

    source = header(HeartRate=66)
    tag = Tag("FrameTime")
    source[tag] = RawDataElement(tag, "DS", 8, b"Doe\xff\xfe12", 0, False, True)  # type: ignore[assignment]
    made, report = clean_header(source, Pseudonyms(KEY), REMOVE)
    assert "FrameTime" not in made
    assert made.HeartRate == 66
    assert "(0018,1063) FrameTime" in report.removed


def test_the_report_names_attributes_and_no_values() -> None:
    inner = Dataset()
    inner.RegionFlags, inner.ImageComments = 1, "Doe"
    source = header(StudyDate="20200101", InstitutionName="Doe's", SequenceOfUltrasoundRegions=[inner, inner])
    source.private_block(0x0011, "Doe maker", create=True).add_new(1, "LO", "Doe")
    _, report = clean_header(source, Pseudonyms(KEY), REMOVE)
    assert "(0008,0080) InstitutionName" in report.removed
    assert report.removed.count("(0018,6011) SequenceOfUltrasoundRegions > (0020,4000) ImageComments") == 1
    assert {"(0010,0010) PatientName", "(0008,0020) StudyDate"} <= set(report.replaced)
    assert report.private_removed == 2
    assert "Doe" not in repr(report)


@pytest.mark.parametrize("pixels_clean", [True, False])
def test_what_was_done_is_declared(pixels_clean: bool) -> None:
    made = clean(header(BurnedInAnnotation="NO"), SHIFT)
    declare(made, SHIFT, pixels_clean=pixels_clean)
    assert made.PatientIdentityRemoved == "YES"
    assert made.BurnedInAnnotation == ("NO" if pixels_clean else "YES")
    codes = [item.CodeValue for item in made.DeidentificationMethodCodeSequence]
    assert codes == ["113100", *(["113101"] if pixels_clean else []), "113107", "113108"]
    purpose = made.ContributingEquipmentSequence[-1].PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodeMeaning) == ("109104", "De-identifying Equipment")


def test_a_denoised_loop_is_still_known_as_one(small_loop: CineLoop) -> None:
    derived = derived_header(small_loop, Provenance("denoised by model fast, research use", {"sha256": "ab" * 32}))
    derived.ContributingEquipmentSequence[0].InstitutionName = "Doe's"
    made = clean(derived)
    assert denoised_before(made) == denoised_before(derived) == ("denoised by model fast",)
    assert made.ImageType[0] == "DERIVED"
    assert made.SeriesDescription == "[denoised by model fast, research use]"
    assert "ab" * 32 in made.DerivationDescription
    assert "Doe" not in made.to_json()
