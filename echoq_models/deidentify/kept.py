"""What of a header is kept: the attributes that a loop needs to be shown and measured, and what each may hold.

PS3.15's table names what must go; a text that it does not name may still hold a name. So the rule here is the other
way round: what is not listed below goes, and what is listed must look like what it is for. Nothing listed here is
named by the profile's table, but for what its options allow (dates, the patient's characteristics).
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_REGION = """RegionSpatialFormat RegionDataType RegionFlags RegionLocationMinX0 RegionLocationMinY0
RegionLocationMaxX1 RegionLocationMaxY1 ReferencePixelX0 ReferencePixelY0 PhysicalUnitsXDirection
PhysicalUnitsYDirection ReferencePixelPhysicalValueX ReferencePixelPhysicalValueY PhysicalDeltaX PhysicalDeltaY
TransducerFrequency PulseRepetitionFrequency DopplerCorrectionAngle SteeringAngle DopplerSampleVolumeXPosition
DopplerSampleVolumeYPosition TMLinePositionX0 TMLinePositionY0 TMLinePositionX1 TMLinePositionY1
PixelComponentOrganization PixelComponentMask PixelComponentRangeStart PixelComponentRangeStop
PixelComponentPhysicalUnits PixelComponentDataType NumberOfTableBreakPoints TableOfXBreakPoints TableOfYBreakPoints
NumberOfTableEntries TableOfPixelValues TableOfParameterValues"""

_ULTRASOUND = """DepthOfScanField DepthsOfFocus MechanicalIndex BoneThermalIndex CranialThermalIndex
SoftTissueThermalIndex SoftTissueFocusThermalIndex SoftTissueSurfaceThermalIndex UltrasoundColorDataPresent
StageNumber NumberOfStages ViewNumber NumberOfViewsInStage NumberOfEventTimers EventElapsedTimes"""

_CINE = """FrameTime FrameTimeVector FrameDelay CineRate RecommendedDisplayFrameRate StartTrim StopTrim
PreferredPlaybackSequencing EffectiveDuration ActualFrameDuration TriggerTime HeartRate RWaveTimeVector NominalInterval
LowRRValue HighRRValue PageNumberVector"""

_IMAGE = """SeriesNumber AcquisitionNumber InstanceNumber SamplesPerPixel PlanarConfiguration NumberOfFrames Rows
Columns PixelAspectRatio BitsAllocated BitsStored HighBit PixelRepresentation RedPaletteColorLookupTableDescriptor
GreenPaletteColorLookupTableDescriptor BluePaletteColorLookupTableDescriptor PixelSpacing NominalScannedPixelSpacing
WindowCenter WindowWidth
RescaleIntercept RescaleSlope LossyImageCompressionRatio"""

NUMBERS = _words(f"{_REGION} {_ULTRASOUND} {_CINE} {_IMAGE}")
"""Numbers of any VR: rewritten from their value, so that only a number is left."""

POINTERS = {"FrameIncrementPointer": frozenset({0x00181063, 0x00181065, 0x00182001})}
"""Attribute tags, and those they may name."""

TERMS: dict[str, frozenset[str]] = {
    "Modality": _words("US IVUS ECG ES XA XC CR CT MR NM PT OT SC"),
    "ConversionType": _words("DV DI DF WSD SD SI DRW SYN"),
    "PhotometricInterpretation": frozenset(
        ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"]
    ),
    "LossyImageCompression": frozenset(["00", "01"]),
    "LossyImageCompressionMethod": _words(
        """ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_15444_15 ISO_13818_2 ISO_14496_10 ISO_23008_2"""
    ),
    "BurnedInAnnotation": frozenset(["YES", "NO"]),
    "QualityControlImage": frozenset(["YES", "NO", "BOTH"]),
    "PresentationLUTShape": frozenset(["IDENTITY", "INVERSE"]),
    "VOILUTFunction": frozenset(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    "RescaleType": frozenset(["US", "OD", "HU"]),
    "Laterality": frozenset("RL"),
    "ImageLaterality": frozenset("RLUB"),
    "PatientOrientation": _words("A P R L H F AR AL AH AF PR PL PH PF RH RF LH LF RA LA HA FA RP LP HP FP"),
    "BodyPartExamined": frozenset(["HEART", "CHEST"]),
    "BeatRejectionFlag": frozenset("YN"),
    "TransducerType": frozenset(
        """SECTOR_PHASED;SECTOR_MECH;SECTOR_ANNULAR;LINEAR;CURVED LINEAR;SINGLE CRYSTAL;SPLIT XTAL CWD;IV_PHASED;
IV_ROT XTAL;IV_ROT MIRROR;ENDOCAV_PA;ENDOCAV_MECH;ENDOCAV_CLA;ENDOCAV_AA;ENDOCAV_LINEAR;VECTOR_PHASED""".replace(
            "\n", ""
        ).split(";")
    ),
}
"""Coded strings and the defined terms they may hold (PS3.3)."""

IMAGE_TYPES = _words(
    """ORIGINAL DERIVED PRIMARY SECONDARY ABDOMINAL BREAST CHEST ENDOCAVITARY ENDORECTAL ENDOVAGINAL EPICARDIAL
FETAL HEAD INTRACARDIAC INTRAOPERATIVE INTRAVASCULAR MUSCULOSKELETAL NECK OBSTETRICAL OPHTHALMIC PEDIATRIC PELVIC
PERIPHERAL RETROPERITONEAL SCROTAL SMALL_PARTS THYROID TRANSCRANIAL TRANSESOPHAGEAL GYNECOLOGICAL VASCULAR"""
)
"""Values 1 to 3 of Image Type (PS3.3 C.8.5.6.1.1 and what vendors write); value 4 is a hexadecimal number."""

VENDORS = {
    "acuson": "Acuson",
    "aloka": "Aloka",
    "atl": "ATL",
    "butterfly": "Butterfly Network",
    "canon": "Canon Medical Systems",
    "clarius": "Clarius",
    "echoq": "EchoQ",
    "esaote": "Esaote",
    "fujifilm": "Fujifilm",
    "ge": "GE Healthcare",
    "general electric": "GE Healthcare",
    "hitachi": "Hitachi",
    "medison": "Samsung Medison",
    "mindray": "Mindray",
    "philips": "Philips",
    "samsung": "Samsung",
    "siemens": "Siemens",
    "sonosite": "Fujifilm SonoSite",
    "toshiba": "Toshiba",
    "vingmed": "GE Vingmed Ultrasound",
}
"""Makers known by a word of theirs, and the name that is written instead of what the file says."""

VIEW_WORDS = _words(
    """a2c a3c a4c a5c plax psax lax sax sc4c ap2 ap3 ap4 ap5 apical parasternal subcostal suprasternal transgastric
esophageal oesophageal mid upper lower basal base apex papillary mitral aortic tricuspid pulmonary valve muscle level
long short axis two three four five chamber chambers ch 2 3 4 5 2ch 3ch 4ch 5ch 2c 3c 4c 5c left right ventricle
ventricular atrium atrial lv rv la ra ao mv av tv pv ivc view zoom rest peak stress baseline low high dose recovery
post pre exercise impost immediate stage"""
)
"""The only words that a view's or stage's name may be made of."""

VIEWS = frozenset(["ViewName", "StageName"])

CODES = _words("""ViewCodeSequence ViewModifierCodeSequence AnatomicRegionSequence AnatomicRegionModifierSequence
StageCodeSequence DerivationCodeSequence PurposeOfReferenceCodeSequence""")
"""Sequences of codes: kept where the code is one of DICOM's own dictionary, whose meaning is then written."""

SEQUENCES = frozenset(["SequenceOfUltrasoundRegions", "SourceImageSequence", "ReferencedImageSequence"])
"""Sequences whose items are kept, each cleaned by these same rules."""

CLASSES = frozenset(["SOPClassUID", "ReferencedSOPClassUID"])
"""UIDs that name a kind of object: kept where DICOM defines them."""

EMPTIED = _words(
    """StudyDate StudyTime ContentDate ContentTime AccessionNumber ReferringPhysicianName StudyID PatientBirthDate
PatientSex"""
)
"""Attributes that an image must have, if empty (type 2)."""

DATES = _words(
    """StudyDate StudyTime SeriesDate SeriesTime AcquisitionDate AcquisitionTime AcquisitionDateTime ContentDate
ContentTime InstanceCreationDate InstanceCreationTime PerformedProcedureStepStartDate PerformedProcedureStepStartTime
PerformedProcedureStepEndDate PerformedProcedureStepEndTime DateOfSecondaryCapture TimeOfSecondaryCapture"""
)
"""What `dates="shift"` keeps, moved."""

CHARACTERISTICS = frozenset(["PatientAge", "PatientSex", "PatientSize", "PatientWeight"])
"""What the profile's option for the patient's characteristics keeps."""

PALETTE = tuple(f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue"))
