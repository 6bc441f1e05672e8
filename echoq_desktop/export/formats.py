"""What a loop can be exported as, and what a person should know about each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Format:
    """One kind of output. suffix: of the file; "" is a folder of PNG.

    lossless: what is written when lossless is chosen, None where there is nothing to choose.
    always_lossless: no grey level is lost anyway.  picture: can hold panes side by side.
    without_names: the note when what names the patient is removed, None where it stays the same.
    """

    title: str
    suffix: str
    note: str
    lossless: str | None = None
    always_lossless: bool = False
    picture: bool = True
    without_names: str | None = None


FORMATS = (
    Format(
        "MP4 video",
        ".mp4",
        "H.264; plays in PowerPoint and in every player.",
        lossless="Every grey level is kept, for measuring. PowerPoint and some players cannot show it.",
    ),
    Format(
        "AVI video",
        ".avi",
        "Motion JPEG; opens in most research software.",
        lossless="FFV1: every grey level is kept, for measuring. VLC and FFmpeg-based software open it.",
    ),
    Format(
        "DICOM",
        ".dcm",
        "A derived object for the archive: patient, study, frame times and ultrasound regions of the source, what was "
        "done in the header, every grey level kept. Regions and gCNR go into a JSON file beside it.",
        always_lossless=True,
        picture=False,
        without_names="A derived object whose patient and study have stand-ins: frame times and ultrasound regions "
        "of the source, what was done in the header, every grey level kept. Regions and gCNR go into a JSON file "
        "beside it.",
    ),
    Format("GIF animation", ".gif", "For mail and web pages: 256 colours, times rounded to 10 ms."),
    Format("Folder of PNG", "", "One lossless picture a frame.", always_lossless=True),
    Format(
        "NumPy (.npz)",
        ".npz",
        "`frames` uint8 (T, H, W) and `times_ms`, for further computing.",
        always_lossless=True,
        picture=False,
    ),
)
DICOM_ENCODINGS = {
    "RLE, opened by every archive": "rle",
    "JPEG-LS, smallest": "jpeg-ls",
    "Uncompressed": "raw",
}
REPORT_NOTE = "A report beside the file tells what was removed and what could not be judged."
LOSSY_NOTE = "Lossy compression alone can raise gCNR: choose lossless for files that will be measured."


def format_of(path: Path) -> Format | None:
    """The format that a path's suffix stands for, None when there is none."""
    return next((each for each in FORMATS if each.suffix == path.suffix.lower()), None)


def with_format(path: Path, wanted: Format) -> Path:
    """The path with the suffix of a format in place of another format's."""
    bare = path.with_suffix("") if path.suffix and format_of(path) is not None else path
    return bare.with_name(bare.name + wanted.suffix)
