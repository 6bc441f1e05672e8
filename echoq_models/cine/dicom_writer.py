"""Stream frames into a DICOM file: header first, then one frame after the other, so that memory holds one."""

from __future__ import annotations

from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

import echoq_models
from echoq_models.errors import OutputError

if TYPE_CHECKING:
    from pydicom import Dataset

U8 = NDArray[np.uint8]

ENCODINGS = {
    "rle": "1.2.840.10008.1.2.5",
    "raw": "1.2.840.10008.1.2.1",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
}
IMPLEMENTATION = "2.25.30179313574773779310875081021093638294"  # made from a UUID (PS3.5 B.2), EchoQ's for ever
LONGEST = 0xFFFFFFFE  # bytes of one element; longer offsets need the extended table

_PIXELS = b"\xe0\x7f\x10\x00OB\0\0"
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


class DicomSink:
    """One DICOM file of the frames that `header` announces (Rows, Columns, SamplesPerPixel, NumberOfFrames).

    encoding: one of ENCODINGS, all lossless; compressed frames are one fragment each, found through the Basic Offset
    Table, or through the Extended Offset Table where the file may grow beyond 4 GiB (PS3.5 A.4, PS3.3 C.7.6.3.1.8).
    Raises OutputError for an unknown encoding and for raw pixels of more than 4 GiB.
    """

    def __init__(self, path: Path, header: Dataset, encoding: str = "rle") -> None:
        if encoding not in ENCODINGS:
            raise OutputError(f"{encoding!r} is no DICOM encoding; use {', '.join(ENCODINGS)}.")
        self._header, self._encoding = header, encoding
        self._frames = int(header.get("NumberOfFrames", 1) or 1)
        self._shape = (header.Rows, header.Columns, *((3,) if header.SamplesPerPixel == 3 else ()))
        self._frame_bytes = int(np.prod(self._shape))
        self._offsets: list[int] = []
        self._lengths: list[int] = []
        raw = self._frames * self._frame_bytes
        if encoding == "raw" and raw > LONGEST:
            raise OutputError("uncompressed pixels of more than 4 GiB do not fit into DICOM; use rle or jpeg-ls.")
        # No encoder makes a frame longer than this: RLE adds one byte to 128, then a header.
        self._extended = self._frames * (self._frame_bytes * 129 // 128 + header.Rows * 4 + 4096) > LONGEST
        self._file: BinaryIO = path.open("wb")
        try:
            self._begin(raw)
        except BaseException:
            self._file.close()
            raise

    def add(self, frame: U8) -> None:
        """Grey (H, W), or RGB (H, W, 3) where the header says colour; grey is widened there."""
        if frame.ndim == 2 and len(self._shape) == 3:
            frame = np.repeat(frame[..., None], 3, axis=2)
        if frame.shape != self._shape:
            raise ValueError(f"the header announces frames of {self._shape}, not {frame.shape}")
        frame = np.ascontiguousarray(frame)
        if self._encoding == "raw":
            self._file.write(frame.data)
            return
        coded = self._coded(frame)
        self._offsets.append(self._file.tell() - self._first)
        self._lengths.append(len(coded))
        self._file.write(_ITEM + pack("<L", len(coded)) + coded)

    def finish(self) -> None:
        """End the pixel data and fill in the offset table."""
        if self._encoding == "raw":
            if self._frames * self._frame_bytes % 2:
                self._file.write(b"\0")
        else:
            self._file.write(_END)
            self._fill_tables()
        self._file.close()

    def abort(self) -> None:
        """Close the file handle."""
        self._file.close()

    def _begin(self, raw: int) -> None:
        from pydicom import dcmwrite
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import UID

        from echoq_models.cine.dicom_header import quiet

        meta = FileMetaDataset()
        meta.TransferSyntaxUID = UID(ENCODINGS[self._encoding])
        meta.MediaStorageSOPClassUID = self._header.SOPClassUID
        meta.MediaStorageSOPInstanceUID = self._header.SOPInstanceUID
        meta.ImplementationClassUID = UID(IMPLEMENTATION)
        meta.ImplementationVersionName = f"ECHOQ_{echoq_models.__version__}"[:16]
        self._header.file_meta = meta
        with quiet():
            dcmwrite(self._file, self._header, implicit_vr=False, little_endian=True, enforce_file_format=True)
        if self._encoding == "raw":
            self._file.write(_PIXELS + pack("<L", raw + raw % 2))
            return
        if self._extended:
            self._tables = self._file.tell() + 12  # tag, VR and length come first
            for element in (b"\x01\x00", b"\x02\x00"):
                self._file.write(b"\xe0\x7f" + element + b"OV\0\0" + pack("<L", 8 * self._frames))
                self._file.write(bytes(8 * self._frames))
        self._file.write(_PIXELS + b"\xff\xff\xff\xff")
        basic = 0 if self._extended else 4 * self._frames
        self._file.write(_ITEM + pack("<L", basic))
        if not self._extended:
            self._tables = self._file.tell()
        self._file.write(bytes(basic))
        self._first = self._file.tell()

    def _coded(self, frame: U8) -> bytes:
        """One frame, compressed, of an even number of bytes."""
        from pydicom.pixels import get_encoder

        plugin = "pylibjpeg" if self._encoding == "rle" else "pyjpegls"
        colour: dict[str, Any] = {"planar_configuration": 0} if frame.ndim == 3 else {}
        coded: bytes = get_encoder(ENCODINGS[self._encoding]).encode(
            frame,
            encoding_plugin=plugin,
            rows=frame.shape[0],
            columns=frame.shape[1],
            number_of_frames=1,
            samples_per_pixel=3 if frame.ndim == 3 else 1,
            bits_allocated=8,
            bits_stored=8,
            pixel_representation=0,
            photometric_interpretation=self._header.PhotometricInterpretation,
            **colour,
        )
        return coded + b"\0" * (len(coded) % 2)

    def _fill_tables(self) -> None:
        self._file.seek(self._tables)
        if not self._extended:
            self._file.write(np.asarray(self._offsets, dtype="<u4").tobytes())
            return
        self._file.write(np.asarray(self._offsets, dtype="<u8").tobytes())
        self._file.seek(12, 1)  # tag, VR and length of the table of lengths
        self._file.write(np.asarray(self._lengths, dtype="<u8").tobytes())
