"""Small synthetic files of every kind that EchoQ reads, made with other libraries than the reader uses where it
matters, so that a reader and a writer with the same mistake cannot agree."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG)
US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"


def sector_frames(count: int = 6, height: int = 48, width: int = 64, seed: int = 0) -> U8:
    """uint8 (T, H, W): a speckled sector with a dark chamber that moves, on black."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(float)
    radius, angle = np.hypot(x - width / 2, y), np.arctan2(x - width / 2, y)
    sector = (radius < 0.97 * height) & (np.abs(angle) < 0.75) & (radius > 0.08 * height)
    frames = []
    for t in range(count):
        shift = 0.06 * height * np.sin(2 * np.pi * t / max(count, 2))
        chamber = np.hypot((x - width / 2) / (0.16 * width), (y - 0.55 * height - shift) / (0.24 * height)) < 1
        level = np.where(chamber, 30, 130) * rng.gamma(3.0, 1 / 3.0, (height, width))
        frames.append(np.where(sector, np.clip(level, 1, 255), 0).astype(np.uint8))
    return np.stack(frames)


def with_doppler(frames: U8) -> U8:
    """RGB (T, H, W, 3) of grey frames with a box of red and blue and a green trace along the bottom."""
    rgb = np.repeat(frames[..., None], 3, axis=3)
    _, height, width = frames.shape
    rgb[:, height // 3 : height // 2, width // 3 : width // 2] = (200, 30, 10)
    rgb[:, height // 2 : 2 * height // 3, width // 3 : width // 2] = (20, 40, 210)
    rgb[:, -3:, :] = (0, 200, 40)
    return rgb


def sepia(frames: U8) -> U8:
    """RGB (T, H, W, 3): grey frames through a tinted map."""
    y = np.arange(256, dtype=float)
    table = np.stack([np.minimum(255, y * 1.1), y, y * 0.75], axis=1).round().astype(np.uint8)
    return table[frames]


def rgb_to_ybr(rgb: U8) -> U8:
    """YBR_FULL by PS3.3 C.7.6.3.1.2, rounded."""
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb = -0.168736 * r - 0.331264 * g + 0.5 * b + 128
    cr = 0.5 * r - 0.418688 * g - 0.081312 * b + 128
    return np.clip(np.rint(np.stack([y, cb, cr], axis=-1)), 0, 255).astype(np.uint8)


def write_dicom(
    path: Path,
    pixels: NDArray[Any],
    *,
    syntax: str = EXPLICIT_LITTLE,
    photometric: str | None = None,
    planar: int = 0,
    bits_stored: int | None = None,
    frame_time: float | None = 40.0,
    offset_table: bool = True,
    sop_class: str = US_MULTIFRAME,
    preamble: bool = True,
    repeat: int = 1,
    **elements: Any,
) -> Path:
    """Write a DICOM ultrasound loop.

    pixels: (T, H, W) or (T, H, W, 3), uint8 or (u)int16, as stored (YBR_FULL samples for YBR photometrics).
    repeat: how often the frames follow each other (long loops without long encoding).
    elements: further header elements by keyword.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, generate_uid

    colour = pixels.ndim == 4
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = UID(sop_class)
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.Modality, data.PatientName, data.PatientID = "US", "Nobody^Synthetic", "0"
    data.NumberOfFrames, data.Rows, data.Columns = pixels.shape[0] * repeat, *pixels.shape[1:3]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = photometric or ("RGB" if colour else "MONOCHROME2")
    if colour:
        data.PlanarConfiguration = planar
    data.BitsAllocated = 8 * pixels.dtype.itemsize
    data.BitsStored = bits_stored or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    if frame_time is not None:
        data.FrameTime, data.FrameIncrementPointer = frame_time, 0x00181063
    _set_pixels(data, pixels, syntax, planar, offset_table, repeat)
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    little, implicit = syntax != EXPLICIT_BIG, syntax == IMPLICIT_LITTLE
    data.save_as(path, enforce_file_format=preamble, implicit_vr=implicit, little_endian=little)
    return path


def _set_pixels(data: Any, pixels: NDArray[Any], syntax: str, planar: int, offset_table: bool, repeat: int) -> None:
    from pydicom.encaps import encapsulate

    if syntax in NATIVE:
        stored = _subsample(pixels) if data.PhotometricInterpretation == "YBR_FULL_422" else pixels
        if planar == 1 and stored.ndim == 4:
            stored = stored.transpose(0, 3, 1, 2)
        order = ">" if syntax == EXPLICIT_BIG else "<"
        raw = np.ascontiguousarray(stored).astype(stored.dtype.newbyteorder(order)).tobytes()
        raw *= repeat
        data.PixelData = raw + b"\0" * (len(raw) % 2)
        data["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
        return
    frames = [encode_frame(frame, data, syntax) for frame in pixels] * repeat
    data.PixelData = encapsulate(frames, has_bot=offset_table)
    data["PixelData"].VR = "OB"


def _subsample(ybr: U8) -> U8:
    """YBR_FULL_422 as it is stored: Y Y Cb Cr for every two pixels of a row."""
    count, height, width, _ = ybr.shape
    pairs = ybr.reshape(count, height, width // 2, 2, 3)
    out = np.empty((count, height, width // 2, 4), dtype=np.uint8)
    out[..., 0], out[..., 1] = pairs[..., 0, 0], pairs[..., 1, 0]
    out[..., 2], out[..., 3] = pairs[..., 0, 1], pairs[..., 0, 2]
    return out


def encode_frame(frame: NDArray[Any], data: Any, syntax: str) -> bytes:
    """One compressed frame of the given transfer syntax."""
    if syntax == JPEG_BASELINE:
        return _jpeg(frame, data.PhotometricInterpretation)
    if syntax in (JPEG_LOSSLESS, JPEG_LOSSLESS_SV1):
        return jpeg_lossless(frame, data.BitsStored, 4 if syntax == JPEG_LOSSLESS else 1)
    if syntax in (JPEG_2000_LOSSLESS, JPEG_2000):
        return _j2k(frame, data, syntax)
    from pydicom.pixels import get_encoder

    options = {"jls_error": 3} if syntax == JPEG_LS_NEAR else {}
    return get_encoder(syntax).encode(
        np.ascontiguousarray(frame),
        rows=data.Rows,
        columns=data.Columns,
        number_of_frames=1,
        samples_per_pixel=data.SamplesPerPixel,
        bits_allocated=data.BitsAllocated,
        bits_stored=data.BitsStored,
        pixel_representation=data.PixelRepresentation,
        photometric_interpretation=data.PhotometricInterpretation,
        planar_configuration=0,
        **options,
    )


def _jpeg(frame: U8, photometric: str) -> bytes:
    from PIL import Image

    out = BytesIO()
    if frame.ndim == 2:
        Image.fromarray(frame).save(out, "JPEG", quality=92)
    else:
        subsampling = "4:2:2" if photometric == "YBR_FULL_422" else "4:4:4"
        mode = "RGB" if photometric == "RGB" else "YCbCr"
        image = (
            Image.fromarray(frame, mode="RGB")
            if mode == "RGB"
            else Image.merge("YCbCr", [Image.fromarray(np.ascontiguousarray(frame[..., i])) for i in range(3)])
        )
        keep = {"keep_rgb": True} if mode == "RGB" else {"subsampling": subsampling}
        image.save(out, "JPEG", quality=92, **keep)
    return _even(out.getvalue())


def _j2k(frame: NDArray[Any], data: Any, syntax: str) -> bytes:
    import openjpeg

    lossy = {"compression_ratios": [6]} if syntax == JPEG_2000 else {}
    coded = openjpeg.encode(
        np.ascontiguousarray(frame),
        bits_stored=data.BitsStored,
        photometric_interpretation=1 if frame.ndim == 3 else 2,
        use_mct=frame.ndim == 3,
        codec_format=0,
        **lossy,
    )
    return _even(bytes(coded))


def htj2k_of_mid_grey(height: int, width: int) -> bytes:
    """A high-throughput JPEG 2000 codestream of a frame of value 128.

    Every coefficient of such a frame is 0, so that no block is coded: marking a plain codestream as
    high-throughput (ISO 15444-15: Rsiz bit 14, a CAP segment, code-block style bit 6) makes a valid one.
    """
    import openjpeg

    plain = openjpeg.encode(np.full((height, width), 128, np.uint8), photometric_interpretation=2, codec_format=0)
    data = bytearray(plain)
    siz = data.index(b"\xff\x51")
    data[siz + 4] |= 0x40
    end = siz + 2 + int.from_bytes(data[siz + 2 : siz + 4], "big")
    data[end:end] = bytes.fromhex("ff50 0008 00020000 0000")
    cod = data.index(b"\xff\x52")
    data[cod + 12] |= 0x40
    return _even(bytes(data))


def jpeg_lossless(frame: NDArray[Any], bits: int, predictor: int = 1) -> bytes:
    """JPEG process 14 (ISO 10918-1 annex H): (H, W) or interleaved (H, W, 3), predictor 1 (left) or 4.

    The one Huffman table has 17 codes of 5 bits: the category of a difference is its code.
    """
    samples = np.atleast_3d(frame).astype(np.int64)
    height, width, parts = samples.shape
    left, above, corner = (np.zeros_like(samples) for _ in range(3))
    left[:, 1:], above[1:], corner[1:, 1:] = samples[:, :-1], samples[:-1], samples[:-1, :-1]
    predicted = left if predictor == 1 else left + above - corner
    predicted[0, 1:], predicted[1:, 0] = left[0, 1:], above[1:, 0]
    predicted[0, 0] = 1 << (bits - 1)
    bit_string = []
    for difference in (samples - predicted).ravel().tolist():
        category = abs(difference).bit_length()
        extra = difference if difference >= 0 else difference + (1 << category) - 1
        bit_string.append(f"{category:05b}" + (f"{extra:0{category}b}" if category else ""))
    packed = "".join(bit_string)
    packed += "1" * (-len(packed) % 8)
    scan = int(packed, 2).to_bytes(len(packed) // 8, "big").replace(b"\xff", b"\xff\0")
    components = b"".join(bytes([i + 1, 0x11, 0]) for i in range(parts))
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    sof = _segment(0xC3, bytes([bits]) + size + bytes([parts]) + components)
    dht = _segment(0xC4, bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)]))
    sos = _segment(0xDA, bytes([parts]) + b"".join(bytes([i + 1, 0]) for i in range(parts)) + bytes([predictor, 0, 0]))
    return _even(b"\xff\xd8" + sof + dht + sos + scan + b"\xff\xd9")


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def write_video(path: Path, frames: U8, *codec: str, fps: float = 25.0, container: str | None = None) -> Path:
    """Write frames (T, H, W) or (T, H, W, 3) with ffmpeg's own arguments, e.g. "-c:v", "mjpeg"."""
    import imageio_ffmpeg

    _, height, width = frames.shape[:3]
    kind = "rgb24" if frames.ndim == 4 else "gray"
    source = ["-f", "rawvideo", "-pix_fmt", kind, "-video_size", f"{width}x{height}", "-framerate", str(fps)]
    target = [*(["-f", container] if container else []), f"file:{path}"]
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *source, "-i", "pipe:0", *codec, *target],
        input=np.ascontiguousarray(frames).tobytes(),
        check=True,
        capture_output=True,
        timeout=60,
    )
    return path


def write_gif(path: Path, frames: U8, delays_ms: list[int]) -> Path:
    """Write frames (T, H, W) with a delay each, by Pillow."""
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=delays_ms, loop=0)
    return path


def write_stills(folder: Path, frames: U8, pattern: str = "f{}.png") -> Path:
    """Write one picture a frame, numbered from 1 without leading zeros."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(folder / pattern.format(number))
    return folder


def write_npz(path: Path, frames: U8, times_ms: NDArray[np.float64] | None = None) -> Path:
    """Write `frames` and `times_ms`."""
    with path.open("wb") as file:
        np.savez_compressed(file, frames=frames, **({} if times_ms is None else {"times_ms": times_ms}))
    return path


def write_dicom_film(
    path: Path,
    film: bytes,
    frames: U8,
    syntax: str,
    *,
    fragment: int = 0,
    frame_time: float | None = 40.0,
    **facts: Any,
) -> Path:
    """Wrap a film as DICOM: one fragment, or several of `fragment` bytes. frames: what is in it, for the header."""
    from pydicom import dcmread
    from pydicom.uid import UID

    write_dicom(path, frames[:1], frame_time=frame_time, **facts)
    data = dcmread(path)
    data.NumberOfFrames = len(frames)
    if frames.ndim == 4:
        data.PhotometricInterpretation = "YBR_PARTIAL_420"
    step = fragment or max(2, len(film))
    parts = [_even(film[at : at + step]) for at in range(0, len(film), step)]
    items = b"".join(b"\xfe\xff\x00\xe0" + len(part).to_bytes(4, "little") + part for part in parts)
    data.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0" + items + b"\xfe\xff\xdd\xe0\0\0\0\0"
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.save_as(path, implicit_vr=False, little_endian=True)
    return path


def write_dicomdir(path: Path, files: list[tuple[str, tuple[str, ...]]], in_use: int = 0xFFFF) -> Path:
    """A DICOMDIR with a patient and records of these types and files."""
    from pydicom import DataElement, Dataset, config
    from pydicom.dataset import FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import UID, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    data.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.1.3.10")
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.FileSetID = "TEST"
    records = [Dataset()]
    records[0].DirectoryRecordType, records[0].PatientName = "PATIENT", "Nobody^Synthetic"
    for kind, parts in files:
        record = Dataset()
        record.RecordInUseFlag, record.DirectoryRecordType = in_use, kind
        record[0x00041500] = DataElement(0x00041500, "CS", list(parts), validation_mode=config.IGNORE)
        records.append(record)
    data.DirectoryRecordSequence = Sequence(records)
    data.save_as(path, enforce_file_format=True)
    return path
