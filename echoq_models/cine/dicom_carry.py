"""Which elements of a DICOM header still hold once the pixels are written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

PRODUCT = "EchoQ"

# How the old pixels were stored and shown: the new ones are 8-bit display values.
_OLD_PIXELS = """
SamplesPerPixel PhotometricInterpretation PlanarConfiguration BitsAllocated BitsStored HighBit PixelRepresentation
NumberOfFrames Rows Columns SmallestImagePixelValue LargestImagePixelValue SmallestPixelValueInSeries
LargestPixelValueInSeries PixelPaddingValue PixelPaddingRangeLimit PixelDataProviderURL ColorSpace ICCProfile
WindowCenter WindowWidth WindowCenterWidthExplanation VOILUTFunction VOILUTSequence ModalityLUTSequence
RescaleIntercept RescaleSlope RescaleType PresentationLUTSequence PresentationLUTShape
PixelIntensityRelationship PixelIntensityRelationshipSign PixelPresentation IconImageSequence
RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor BluePaletteColorLookupTableDescriptor
AlphaPaletteColorLookupTableDescriptor RedPaletteColorLookupTableData GreenPaletteColorLookupTableData
BluePaletteColorLookupTableData AlphaPaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData
SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData
SegmentedAlphaPaletteColorLookupTableData PaletteColorLookupTableUID
"""
# Bound to the old instance, to its series or to its division into frames and files.
_OLD_INSTANCE = """
InstanceCreatorUID SOPInstanceStatus DigitalSignaturesSequence MACParametersSequence EncryptedAttributesSequence
DataSetTrailingPadding SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence DimensionOrganizationSequence
DimensionIndexSequence ConcatenationUID ConcatenationFrameOffsetNumber SOPInstanceUIDOfConcatenationSource
InConcatenationNumber InConcatenationTotalNumber
"""
# Count frames: true only while the loop has as many as its header says, which a damaged file has not.
_COUNTED = """
StartTrim StopTrim FrameLabelVector PageNumberVector RepresentativeFrameNumber FrameNumbersOfInterest
FrameOfInterestDescription FrameOfInterestType EffectiveDuration
"""


def carried(source: Dataset | None, frames: int) -> Dataset:
    """A new data set with what of `source` still holds for `frames` frames of new pixels; `source` stays as it is.

    Left out: how the old pixels were stored, private elements, retired curves, signatures, group lengths, and
    whatever is too damaged to be written again.
    """
    from pydicom import Dataset
    from pydicom.datadict import tag_for_keyword

    from echoq_models.cine.dicom_header import value

    data = Dataset()
    if source is None:
        return data
    unwanted = _OLD_PIXELS + _OLD_INSTANCE
    if value(source, "NumberOfFrames", int, 1) != frames:
        unwanted += _COUNTED
    _copy(source, data, {tag_for_keyword(keyword) for keyword in unwanted.split()})
    return data


def _copy(source: Dataset, target: Dataset, leave_out: set[int | None]) -> None:
    """Copy element by element; a damaged one costs only itself."""
    swapped = source.original_encoding[1] is False  # big endian: bulk bytes would have to be turned round
    charset = source.get("SpecificCharacterSet", "iso8859")
    for tag in list(source.keys()):
        group = tag.group
        if tag.is_private or tag.element == 0 or group <= 2 or group == 0x7FE0 or group & 0xFF00 == 0x5000:
            continue
        if int(tag) in leave_out:
            continue
        try:
            element = _fresh(source, tag)
            if not (swapped and element.VR in ("OW", "OF", "OD", "OL", "OV", "UN")) and _writes(element, charset):
                target[tag] = element
        except Exception:  # a damaged element raises whatever its bytes provoke
            continue


def _fresh(source: Dataset, tag: Any) -> DataElement:
    """An element of its own; sequences without private or damaged elements."""
    from pydicom import DataElement, Dataset
    from pydicom.filewriter import correct_ambiguous_vr_element
    from pydicom.sequence import Sequence

    element = source[tag]
    if element.VR == "SQ":
        items = []
        for item in element.value or []:
            items.append(Dataset())
            _copy(item, items[-1], set())
        return DataElement(tag, "SQ", Sequence(items))
    if " or " in element.VR:
        element = correct_ambiguous_vr_element(element, source, source.original_encoding[1] is not False)
    return DataElement(tag, element.VR, element.value, already_converted=True)


def _writes(element: DataElement, charset: Any) -> bool:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_data_element

    trial = DicomBytesIO()
    trial.is_little_endian, trial.is_implicit_VR = True, False
    write_data_element(trial, element, charset)
    return True


def history_text(before: str, now: str, room: int) -> str:
    """`now` after `before`, in at most `room` letters: the oldest words go first."""
    before = before.strip()
    if not before:
        return now[:room]
    left = room - len(now) - 2
    if len(before) > left:
        before = f"...{before[len(before) - left + 3 :]}" if left > 8 else ""
    return f"{before}; {now}" if before else now[:room]


def fit_to_size(data: Dataset, before: tuple[int, int], after: tuple[int, int]) -> None:
    """Make the regions and spacings in `data`, of a picture `before` (H, W) pixels, those of the same one `after`."""
    from echoq_models.cine.dicom_header import floats, value

    if min(before) < 1 or before == after:
        return
    down, across = after[0] / before[0], after[1] / before[1]
    data.pop("PixelAspectRatio", None)
    if len(spacing := floats(data, "PixelSpacing")) == 2:
        data.PixelSpacing = [decimal(spacing[0] / down), decimal(spacing[1] / across)]
    for region in data.get("SequenceOfUltrasoundRegions") or []:
        for axis, scale in (("X", across), ("Y", down)):
            for keyword in (f"RegionLocationMin{axis}0", f"RegionLocationMax{axis}1", f"ReferencePixel{axis}0"):
                if keyword in region:
                    setattr(region, keyword, round(value(region, keyword, float, 0.0) * scale))
            if (delta := value(region, f"PhysicalDelta{axis}", float, 0.0)) != 0:
                setattr(region, f"PhysicalDelta{axis}", delta / scale)


def decimal(number: float) -> Any:
    """A number as a decimal string of at most 16 letters."""
    from pydicom.valuerep import DSfloat

    return DSfloat(round(float(number), 9), auto_format=True)
