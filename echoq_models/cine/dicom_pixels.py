"""DICOM pixel data, frame by frame, as 8-bit grey, RGB or YBR_FULL."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import unpack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.dicom_header import code, floats, value

if TYPE_CHECKING:
    from pydicom import Dataset

    from echoq_models.cine.colour import FrameCollector

U8 = NDArray[np.uint8]

JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
RLE = "1.2.840.10008.1.2.5"
UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")


@dataclass(frozen=True)
class PixelFormat:
    """The Image Pixel module of a header, checked (PS3.3 C.7.6.3)."""

    syntax: str
    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: int
    pixel_vr: str = "OB"

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame; 4:2:2 has two samples a pixel."""
        samples = 2 if self.photometric == "YBR_FULL_422" and self.samples == 3 else self.samples
        return self.rows * self.columns * samples * self.bits_allocated // 8

    def options(self) -> dict[str, Any]:
        """What pydicom's decoders want to know to decode one frame."""
        options: dict[str, Any] = {
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.samples,
            "photometric_interpretation": self.photometric,
            "bits_allocated": self.bits_allocated,
            "bits_stored": self.bits_stored,
            "pixel_representation": int(self.signed),
            "number_of_frames": 1,
            "pixel_keyword": "PixelData",
            "pixel_vr": self.pixel_vr,
        }
        if self.samples > 1:
            # JPEG and its kin decode to colour-by-pixel, whatever the header says
            options["planar_configuration"] = self.planar if self.syntax in (*UNCOMPRESSED, RLE) else 0
        return options


def pixel_format(data: Dataset, syntax: str, pixel_vr: str) -> PixelFormat:
    """Read and check the Image Pixel module. Raises ValueError with the reason it cannot be decoded."""
    samples = value(data, "SamplesPerPixel", int, 1)
    allocated = value(data, "BitsAllocated", int, 8)
    stored = value(data, "BitsStored", int, allocated)
    default = "MONOCHROME2" if samples == 1 else "RGB"
    found = PixelFormat(
        syntax=syntax,
        rows=value(data, "Rows", int, 0),
        columns=value(data, "Columns", int, 0),
        samples=samples,
        photometric=code(data, "PhotometricInterpretation") or default,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=value(data, "PixelRepresentation", int, 0) == 1,
        planar=value(data, "PlanarConfiguration", int, 0),
        pixel_vr=pixel_vr,
    )
    if samples not in (1, 3):
        raise ValueError(f"it has {samples} samples per pixel; only 1 and 3 are known")
    if allocated not in (1, 8, 16, 32) or not 1 <= stored <= allocated:
        raise ValueError(f"it has {stored} bits stored in {allocated}, which is not supported")
    if allocated == 1 and (found.rows * found.columns % 8 or samples != 1):
        raise ValueError("its one-bit frames do not end on whole bytes, which is not supported")
    if found.planar not in (0, 1):
        raise ValueError(f"its planar configuration is {found.planar}; only 0 and 1 are known")
    grey = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    colour = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
    if found.photometric not in (grey if samples == 1 else colour):
        raise ValueError(
            f"its photometric interpretation {found.photometric!r} with {samples} samples is not supported"
        )
    return found


class FrameDecoder:
    """Decodes one frame's bytes at a time; any damage is a ValueError."""

    def __init__(self, layout: PixelFormat) -> None:
        from pydicom.pixels import get_decoder

        self.layout = layout
        self._decoder = get_decoder(layout.syntax)
        self._plugin, self._wrap = _plugin_for(layout), self._decoder.is_encapsulated
        if self._plugin == "gdcm" or layout.syntax in JPEG:
            _silence_gdcm()

    def close(self) -> None:
        """Nothing to end; see isolated.IsolatedDecoder."""

    def decode(self, data: bytes) -> tuple[NDArray[Any], str]:
        """Samples (H, W) or (H, W, 3) as stored, and their photometric interpretation after decoding."""
        layout = self.layout
        if self._wrap:
            _check_codestream(data, layout)
        if layout.syntax in JPEG and layout.bits_stored > 8:
            return _gdcm_extended(data, layout), layout.photometric
        from pydicom.encaps import encapsulate

        source = encapsulate([data], has_bot=False) if self._wrap else data
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                array, facts = self._decoder.as_array(
                    source, index=0, raw=True, decoding_plugin=self._plugin, **layout.options()
                )
        except Exception as error:  # decoders raise whatever the damage provokes
            raise ValueError(f"a frame cannot be decoded ({type(error).__name__})") from error
        return array, str(facts["photometric_interpretation"])


def _plugin_for(layout: PixelFormat) -> str:
    """The decoder that copes best with damaged data: Pillow and CharLS raise where others may crash."""
    if layout.syntax in JPEG:
        return "pillow"
    if layout.syntax in JPEG_LOSSLESS:
        return "gdcm"
    if layout.syntax in JPEG_LS:
        return "pyjpegls"
    if layout.syntax in (*JPEG_2000, *HTJ2K):
        return "pylibjpeg"
    return ""


def _silence_gdcm() -> None:
    """Stop gdcm from writing to the terminal; its errors come back as exceptions or short buffers."""
    import gdcm

    gdcm.Trace.DebugOff()
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()


def _check_codestream(data: bytes, layout: PixelFormat) -> None:
    """Compare the size in a JPEG or JPEG 2000 frame with the header's, before native code allocates for it.

    Raises ValueError. RLE is checked by its decoder.
    """
    if layout.syntax == RLE:
        return
    if layout.syntax in (*JPEG_2000, *HTJ2K):
        width, height, samples, bits = _j2k_size(data)
    else:
        width, height, samples, bits = _jpeg_size(data)
    if (height, width, samples) != (layout.rows, layout.columns, layout.samples):
        raise ValueError(
            f"a frame is {width} x {height} with {samples} samples where the header says "
            f"{layout.columns} x {layout.rows} with {layout.samples}"
        )
    wrong = bits not in (8, 12) if layout.syntax in JPEG else not 1 <= bits <= layout.bits_allocated
    if wrong or (layout.syntax in JPEG and (bits > 8) != (layout.bits_stored > 8)):
        raise ValueError(f"a frame has {bits} bits a sample where the header says {layout.bits_allocated}")


def _jpeg_size(data: bytes) -> tuple[int, int, int, int]:
    """Width, height, components and precision of a JPEG or JPEG-LS codestream (ISO 10918-1 B.2.2)."""
    if data[:2] != b"\xff\xd8":
        raise ValueError("a frame is not a JPEG codestream")
    at = 2
    while at + 10 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            precision, height, width, samples = unpack(">BHHB", data[at + 4 : at + 10])
            return width, height, samples, precision
        elif marker == 0xDA:
            break
        else:
            at += 2 + unpack(">H", data[at + 2 : at + 4])[0]
    raise ValueError("a frame has no JPEG size")


def _j2k_size(data: bytes) -> tuple[int, int, int, int]:
    """Width, height, components and largest precision of a JPEG 2000 codestream (ISO 15444-1 A.5.1)."""
    start = 0
    if data[4:8] == b"jP  ":  # a JP2 file around the codestream, not allowed but seen
        start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or data[start : start + 4] != b"\xff\x4f\xff\x51" or len(data) < start + 45:
        raise ValueError("a frame is not a JPEG 2000 codestream")
    x1, y1, x0, y0, tile_w, tile_h, _, _, samples = unpack(">8LH", data[start + 8 : start + 42])
    if samples > 4 or len(data) < start + 42 + 3 * samples:
        raise ValueError("a frame has an impossible JPEG 2000 header")
    if not (tile_w and tile_h) or (x1 / tile_w) * (y1 / tile_h) > 65535:
        raise ValueError("a frame has an impossible JPEG 2000 tiling")
    components = data[start + 42 : start + 42 + 3 * samples]
    if any(step != 1 for step in components[1::3] + components[2::3]):
        raise ValueError("a frame has subsampled JPEG 2000 components, which is not supported")
    return x1 - x0, y1 - y0, samples, max((c & 0x7F) + 1 for c in components[0::3])


def _gdcm_extended(data: bytes, layout: PixelFormat) -> NDArray[np.uint16]:
    """JPEG extended with 9-12 bits, which pydicom has no free plugin for: gdcm itself decodes it."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(layout.photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(layout.syntax)))
    bits = layout.bits_stored
    image.SetPixelFormat(gdcm.PixelFormat(layout.samples, 16, bits, bits - 1, int(layout.signed)))
    pixels = image.GetBuffer().encode("utf-8", "surrogateescape")
    if layout.samples != 1 or len(pixels) != 2 * layout.rows * layout.columns:
        raise ValueError("a frame cannot be decoded (12-bit JPEG)")
    return np.frombuffer(pixels, dtype="<u2").reshape(layout.rows, layout.columns)


@dataclass(frozen=True)
class Palette:
    """Palette Color LUTs as one table: stored value -> RGB uint8 (PS3.3 C.7.6.3.1.5 and .6)."""

    rgb: U8  # (n, 3)
    first: int

    def apply(self, stored: NDArray[Any]) -> U8:
        """RGB (H, W, 3) of stored values (H, W); values outside take the first or last entry."""
        index = np.clip(stored.astype(np.int32) - self.first, 0, len(self.rgb) - 1)
        return self.rgb[index]


def palette(data: Dataset, little_endian: bool) -> Palette:
    """Raises ValueError when the header's palette is missing or damaged."""
    columns, first = palette_entries(data, little_endian)
    deepest = max(int(c.max()) for c in columns)
    if deepest > 255:  # 16-bit entries; some writers store 8-bit ones in 16 bits
        columns = [(c >> 8).astype(np.uint16) for c in columns]
    return Palette(np.stack(columns, axis=1).astype(np.uint8), first)


def palette_entries(data: Dataset, little_endian: bool) -> tuple[list[NDArray[np.uint16]], int]:
    """Red, green and blue entries, uint16 (n,), as stored, and the first stored value. Raises ValueError."""
    columns: list[NDArray[Any]] = []
    first = 0
    for name in ("Red", "Green", "Blue"):
        entries, first, depth = _descriptor(data, f"{name}PaletteColorLookupTableDescriptor")
        plain = value(data, f"{name}PaletteColorLookupTableData", bytes, b"")
        if plain:
            columns.append(_entries(plain, entries, little_endian))
        else:
            columns.append(_segmented(data, name, entries, depth, little_endian))
    return columns, first


def _descriptor(data: Dataset, keyword: str) -> tuple[int, int, int]:
    numbers = floats(data, keyword)
    if len(numbers) != 3 or int(numbers[2]) not in (8, 16):
        raise ValueError("its colour palette is missing or damaged")
    entries = int(numbers[0]) & 0xFFFF or 65536
    return entries, int(numbers[1]), int(numbers[2])


def _entries(table: bytes, count: int, little_endian: bool) -> NDArray[np.uint16]:
    if len(table) >= 2 * count:
        return np.frombuffer(table[: 2 * count], dtype="<u2" if little_endian else ">u2").astype(np.uint16)
    if len(table) < count:
        raise ValueError("its colour palette is shorter than it says")
    if not little_endian:  # 8-bit entries lie in 16-bit words
        padded = table[: len(table) - len(table) % 2]
        table = np.frombuffer(padded, dtype=">u2").astype("<u2").tobytes() + table[len(padded) :]
    return np.frombuffer(table[:count], dtype=np.uint8).astype(np.uint16)


def _segmented(data: Dataset, name: str, count: int, depth: int, little_endian: bool) -> NDArray[np.uint16]:
    from pydicom.pixels.processing import _expand_segmented_lut

    table = value(data, f"Segmented{name}PaletteColorLookupTableData", bytes, b"")
    kind = "B" if depth == 8 else "H"
    layout = f"{'<' if little_endian else '>'}{len(table) // (depth // 8)}{kind}"
    try:
        got = _expand_segmented_lut(unpack(layout, table), layout)
    except Exception as error:
        raise ValueError("its segmented colour palette is damaged") from error
    if len(got) < count:
        raise ValueError("its colour palette is missing or shorter than it says")
    return np.asarray(got[:count], dtype=np.int64).astype(np.uint16)


@dataclass(frozen=True)
class GreyScale:
    """Stored grey values to display values 0-255 (PS3.3 C.11.1 and C.11.2).

    8-bit unsigned values are kept as they are. Deeper ones go through the modality rescale and the header's
    window; without a window the range that the loop uses is spread over 0-255. MONOCHROME1 is inverted.
    """

    bits: int
    signed: bool
    inverted: bool
    slope: float = 1.0
    intercept: float = 0.0
    centre: float | None = None
    width: float | None = None
    function: str = "LINEAR"
    low: float = 0.0
    high: float = 255.0
    _table: dict[str, U8] = field(default_factory=dict, compare=False, repr=False)

    def apply(self, stored: NDArray[Any]) -> U8:
        """uint8 (H, W) of stored values (H, W)."""
        if self.bits == 8 and not self.signed:
            grey = stored.astype(np.uint8, copy=False)
            return 255 - grey if self.inverted else grey
        if stored.dtype.itemsize > 2:
            return self._map(stored)
        native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        wide = native.astype(np.int16 if self.signed else np.uint16, copy=False).view(np.uint16)
        if "lut" not in self._table:
            every = np.arange(65536, dtype=np.uint16)
            self._table["lut"] = self._map(every.view(np.int16) if self.signed else every)
        return self._table["lut"][wide]

    def _map(self, stored: NDArray[Any]) -> U8:
        x = stored.astype(np.float64) * self.slope + self.intercept
        if self.centre is None or self.width is None:
            shown = (x - self.low) / max(self.high - self.low, 1e-9)
        elif self.function == "SIGMOID":
            shown = 1.0 / (1.0 + np.exp(np.clip(-4.0 * (x - self.centre) / self.width, -60, 60)))
        elif self.function == "LINEAR_EXACT":
            shown = (x - self.centre) / self.width + 0.5
        else:
            shown = (x - (self.centre - 0.5)) / max(self.width - 1.0, 1e-9) + 0.5
        grey = np.clip(np.rint(shown * 255.0), 0, 255).astype(np.uint8)
        return 255 - grey if self.inverted else grey


def grey_scale(data: Dataset, layout: PixelFormat, sample: Callable[[], list[NDArray[Any]]]) -> GreyScale:
    """How this file's grey becomes 0-255. `sample` decodes a few frames, asked only when there is no window."""
    slope = value(data, "RescaleSlope", float, 1.0)
    intercept = value(data, "RescaleIntercept", float, 0.0)
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope != 0):
        slope, intercept = 1.0, 0.0
    common: dict[str, Any] = {
        "bits": layout.bits_stored,
        "signed": layout.signed,
        "inverted": layout.photometric == "MONOCHROME1",
        "slope": slope,
        "intercept": intercept,
    }
    if layout.bits_stored == 8 and not layout.signed:
        return GreyScale(**common)
    centres, widths = floats(data, "WindowCenter"), floats(data, "WindowWidth")
    if centres and widths and widths[0] >= 1:
        function = code(data, "VOILUTFunction") or "LINEAR"
        return GreyScale(**common, centre=centres[0], width=widths[0], function=function)
    if layout.bits_stored < 8 and not layout.signed:
        return GreyScale(**{**common, "slope": 1.0, "intercept": 0.0}, high=2.0**layout.bits_stored - 1)
    frames = sample()
    low = min(float(f.min()) for f in frames) * slope + intercept
    high = max(float(f.max()) for f in frames) * slope + intercept
    if not layout.signed and slope > 0:
        low = intercept  # black stays black
    return GreyScale(**common, low=min(low, high), high=max(low, high))


def deliver(
    array: NDArray[Any], photometric: str, layout: PixelFormat, tables: Palette | GreyScale | None, to: FrameCollector
) -> None:
    """Hand one decoded frame to the collector in the form its photometric interpretation asks for."""
    if isinstance(tables, Palette):
        to.add_rgb(tables.apply(array))
    elif isinstance(tables, GreyScale) and array.ndim == 2:
        to.add_grey(tables.apply(array))
    else:
        if layout.bits_stored > 8:
            array = array >> (layout.bits_stored - 8)
        eight = np.ascontiguousarray(array, dtype=np.uint8)
        if photometric in ("YBR_FULL", "YBR_FULL_422"):
            to.add_ybr(eight)
        else:
            to.add_rgb(eight)
