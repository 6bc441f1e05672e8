"""Every transfer syntax and photometric interpretation, known twins, files cut short, and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from echoq_models.cine import CineLoop, read
from echoq_models.errors import InputError
from tests import make_files as make

LOSSLESS = {
    "implicit": make.IMPLICIT_LITTLE,
    "explicit": make.EXPLICIT_LITTLE,
    "deflated": make.DEFLATED,
    "big endian": make.EXPLICIT_BIG,
    "RLE": make.RLE,
    "JPEG lossless": make.JPEG_LOSSLESS,
    "JPEG lossless SV1": make.JPEG_LOSSLESS_SV1,
    "JPEG-LS": make.JPEG_LS,
    "JPEG 2000": make.JPEG_2000_LOSSLESS,
}
LOSSY = {make.JPEG_BASELINE: "JPEG baseline", make.JPEG_LS_NEAR: "JPEG-LS near-lossless", make.JPEG_2000: "JPEG 2000"}


def same(a: CineLoop, b: CineLoop) -> None:
    """Identical luminance and identical colours."""
    assert np.array_equal(a.frames, b.frames)
    for t in range(len(a)):
        assert np.array_equal(a.rgb(t), b.rgb(t))


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_grey_comes_back_exactly(tmp_path: Path, syntax: str) -> None:
    frames = make.sector_frames()
    loop = read(make.write_dicom(tmp_path / "loop", frames, syntax=syntax))
    assert np.array_equal(loop.frames, frames)
    assert loop.colour is None
    assert loop.tint is None
    assert loop.lossy == ()
    assert loop.warnings == ()
    assert loop.kind == "DICOM"
    assert np.allclose(loop.times_ms, np.arange(6) * 40.0)
    assert loop.header is not None
    assert "PixelData" not in loop.header


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
@pytest.mark.parametrize("planar", [0, 1])
def test_colour_is_kept_and_luminance_is_bt601(tmp_path: Path, syntax: str, planar: int) -> None:
    if planar and syntax not in make.NATIVE:
        pytest.skip("compressed pixels are colour by pixel")
    rgb = make.with_doppler(make.sector_frames())
    loop = read(make.write_dicom(tmp_path / "loop", rgb, syntax=syntax, planar=planar))
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(loop.frames - rgb @ weights).max() <= 1.0
    grey = (rgb == rgb[..., :1]).all(axis=3)
    assert np.array_equal(loop.frames[grey], rgb[..., 0][grey])
    for t in range(len(loop)):
        assert np.array_equal(loop.rgb(t), rgb[t])
        assert np.array_equal(loop.coloured(t), ~grey[t])


@pytest.mark.parametrize("syntax", [make.EXPLICIT_LITTLE, make.RLE, make.JPEG_LS, make.JPEG_2000_LOSSLESS])
def test_ybr_full_shows_as_its_rgb(tmp_path: Path, syntax: str) -> None:
    rgb = make.with_doppler(make.sector_frames())
    loop = read(make.write_dicom(tmp_path / "y", make.rgb_to_ybr(rgb), syntax=syntax, photometric="YBR_FULL"))
    assert max(np.abs(loop.rgb(t).astype(int) - rgb[t]).max() for t in range(len(loop))) <= 2  # of rounding
    grey = (rgb == rgb[..., :1]).all(axis=3)
    assert np.array_equal(loop.frames[grey], rgb[..., 0][grey])


def test_native_422_keeps_grey_exactly(tmp_path: Path) -> None:
    frames = make.sector_frames()
    ybr = make.rgb_to_ybr(np.repeat(frames[..., None], 3, axis=3))
    loop = read(make.write_dicom(tmp_path / "y", ybr, photometric="YBR_FULL_422"))
    assert np.array_equal(loop.frames, frames)
    assert loop.colour is None


def test_reversible_colour_transform_of_jpeg_2000(tmp_path: Path) -> None:
    rgb = make.with_doppler(make.sector_frames())
    plain = read(make.write_dicom(tmp_path / "a", rgb))
    coded = read(make.write_dicom(tmp_path / "b", rgb, syntax=make.JPEG_2000_LOSSLESS, photometric="YBR_RCT"))
    same(plain, coded)


@pytest.mark.parametrize("syntax", LOSSY, ids=LOSSY.values())
def test_lossy_syntaxes_say_so_and_stay_close(tmp_path: Path, syntax: str) -> None:
    y, x = np.mgrid[:48, :64]
    frames = np.stack([(120 + 80 * np.sin(x / 9 + t) * np.cos(y / 11)).astype(np.uint8) for t in range(3)])
    loop = read(make.write_dicom(tmp_path / "loop", frames, syntax=syntax))
    assert loop.lossy == (LOSSY[syntax],)
    assert np.abs(loop.frames.astype(int) - frames).mean() < 2
    assert loop.colour is None


def test_jpeg_422_with_colour(tmp_path: Path) -> None:
    rgb = make.with_doppler(make.sector_frames(4, 96, 128))
    path = make.write_dicom(tmp_path / "l", make.rgb_to_ybr(rgb), syntax=make.JPEG_BASELINE, photometric="YBR_FULL_422")
    loop = read(path)
    coloured = loop.coloured(0)
    assert coloured is not None
    truth = (rgb[0] != rgb[0][..., :1]).any(axis=2)
    assert (coloured & truth).sum() > 0.95 * truth.sum()
    assert (coloured & ~truth).sum() < 0.05 * truth.size  # chroma bleeds over the edges of the boxes
    assert np.abs(loop.frames[:, :20].astype(int) - rgb[:, :20, :, 0]).mean() < 3


def test_jpeg_kept_in_rgb(tmp_path: Path) -> None:
    rgb = make.with_doppler(make.sector_frames(2, 96, 128))
    loop = read(make.write_dicom(tmp_path / "l", rgb, syntax=make.JPEG_BASELINE))
    assert np.abs(loop.rgb(0).astype(int) - rgb[0]).mean() < 4


def test_a_wrong_planar_configuration_on_jpeg_is_ignored(tmp_path: Path) -> None:
    rgb = make.with_doppler(make.sector_frames(2))
    plain = read(make.write_dicom(tmp_path / "a", rgb, syntax=make.JPEG_2000_LOSSLESS, planar=0))
    wrong = read(make.write_dicom(tmp_path / "b", rgb, syntax=make.JPEG_2000_LOSSLESS, planar=1))
    same(plain, wrong)


def test_high_throughput_jpeg_2000(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    data = dcmread(make.write_dicom(tmp_path / "h", np.zeros((2, 32, 40), np.uint8), syntax=make.JPEG_2000_LOSSLESS))
    data.file_meta.TransferSyntaxUID = UID(make.HTJ2K_LOSSLESS)
    data.PixelData = encapsulate([make.htj2k_of_mid_grey(32, 40)] * 2)
    data.save_as(tmp_path / "h")
    loop = read(tmp_path / "h")
    assert loop.frames.shape == (2, 32, 40)
    assert (loop.frames == 128).all()
    assert loop.lossy == ()


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    frames = make.sector_frames()
    loop = read(make.write_dicom(tmp_path / "m", 255 - frames, photometric="MONOCHROME1"))
    assert np.array_equal(loop.frames, frames)


@pytest.mark.parametrize("syntax", [make.EXPLICIT_LITTLE, make.EXPLICIT_BIG, make.JPEG_LOSSLESS_SV1, make.JPEG_LS])
def test_twelve_bits_go_through_the_window(tmp_path: Path, syntax: str) -> None:
    stored = make.sector_frames().astype(np.uint16) * 16
    window = {"WindowCenter": 2040, "WindowWidth": 4081, "VOILUTFunction": "LINEAR_EXACT"}
    loop = read(make.write_dicom(tmp_path / "w", stored, syntax=syntax, bits_stored=12, **window))
    expected = np.clip((stored.astype(float) - 2040) / 4081 + 0.5, 0, 1) * 255
    assert np.abs(loop.frames - expected).max() <= 0.5001


def test_twelve_bits_without_a_window_fill_the_range(tmp_path: Path) -> None:
    stored = make.sector_frames().astype(np.uint16) * 5
    loop = read(make.write_dicom(tmp_path / "w", stored, bits_stored=12))
    assert loop.frames.min() == 0
    assert loop.frames.max() == 255
    order = np.argsort(stored[0].ravel(), kind="stable")
    assert (np.diff(loop.frames[0].ravel()[order].astype(int)) >= 0).all()


def test_signed_values_and_rescale(tmp_path: Path) -> None:
    stored = make.sector_frames().astype(np.int16) - 100
    facts = {"RescaleSlope": 2, "RescaleIntercept": 0, "WindowCenter": 55, "WindowWidth": 511}
    loop = read(make.write_dicom(tmp_path / "s", stored, **facts))
    expected = np.clip((stored * 2 - 54.5) / 510 + 0.5, 0, 1) * 255
    assert np.abs(loop.frames - expected).max() <= 0.5001


@pytest.mark.parametrize("syntax", [make.EXPLICIT_LITTLE, make.EXPLICIT_BIG, make.RLE])
@pytest.mark.parametrize("depth", [8, 16])
def test_palettes(tmp_path: Path, syntax: str, depth: int) -> None:
    rng = np.random.default_rng(1)
    table = rng.integers(0, 256, (256, 3))
    table[:128] = np.arange(128)[:, None]  # half of it grey, so that grey pixels are there too
    order = ">" if syntax == make.EXPLICIT_BIG else "<"
    facts: dict[str, object] = {}
    for i, name in enumerate(("Red", "Green", "Blue")):
        entries = table[:, i] * 257 if depth == 16 else table[:, i]
        kind = f"{order}u2" if depth == 16 else "u1"
        raw = entries.astype(kind)
        if depth == 8 and order == ">":
            raw = raw.view(">u2").astype("<u2")
        facts[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, depth]
        facts[f"{name}PaletteColorLookupTableData"] = raw.tobytes()
    stored = rng.integers(0, 256, (2, 16, 24), dtype=np.uint8)
    loop = read(make.write_dicom(tmp_path / "p", stored, syntax=syntax, photometric="PALETTE COLOR", **facts))
    difference = max(np.abs(loop.rgb(t).astype(int) - table[stored[t]]).max() for t in range(2))
    assert difference <= 6  # random colours that are nearly grey count as grey


TWINS = [
    ("US-PAL-8-10x-echo", "jpeg-ls-Palette.dcm"),
    ("OBXXXX1A_rle_2frame.dcm", "OBXXXX1A_expb_2frame.dcm"),
    ("US1_UNCR.dcm", "US1_J2KR.dcm"),
    ("US1_UNCR.dcm", "US1_RLE"),
    ("color-pl.dcm", "color-px.dcm"),
    ("gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"),
]


@pytest.mark.parametrize(("a", "b"), TWINS)
def test_real_twins_are_identical(realdata: Path, a: str, b: str) -> None:
    first, second = read(realdata / "dicom" / a), read(realdata / "dicom" / b)
    assert first.frames.std() > 5
    same(first, second)


def test_real_doppler_loop(realdata: Path) -> None:
    loop = read(realdata / "dicom" / "US-PAL-8-10x-echo")
    assert loop.frames.shape == (10, 430, 600)
    assert np.allclose(np.diff(loop.times_ms), 76)
    assert loop.tint is None
    mask = loop.coloured(0)
    assert mask is not None
    assert 0.05 < mask.mean() < 0.09  # Doppler box, ECG, scale
    assert not mask[330:345, 200:260].any()  # muscle in the grey part of the sector
    assert read(realdata / "dicom" / "US1_J2KI.dcm").lossy == ("JPEG 2000",)


def test_real_banner_is_colour_but_the_sector_is_grey(realdata: Path) -> None:
    loop = read(realdata / "dicom" / "OBXXXX1A_rle_2frame.dcm")
    mask = loop.coloured(0)
    assert loop.tint is None
    assert mask is not None
    assert mask[5, 400]
    assert not mask[80:140, 380:540].any()


def test_other_modalities(realdata: Path) -> None:
    for name in ("ct_explicit_little.dcm", "ct_jpeg_lossless_70.dcm"):
        loop = read(realdata / "dicom" / name)
        assert "not an ultrasound loop" in loop.warnings[0]
        assert loop.frames.std() > 10
    with pytest.raises(InputError, match="Process 6 and 8"):
        read(realdata / "dicom" / "ct_jpeg_53_unsupported.dcm")


def test_the_cardiac_loop(cardiac_loop_path: Path) -> None:
    loop = read(cardiac_loop_path)
    assert loop.frames.shape == (30, 240, 320)
    assert np.allclose(np.diff(loop.times_ms), 33.333)
    assert loop.lossy == ("JPEG baseline",)
    (region,) = loop.regions
    assert (region.x0, region.y0, region.x1, region.y1) == (84, 31, 595, 414)
    assert region.mm_per_pixel_x == pytest.approx(region.mm_per_pixel_y, rel=0.01)
    coloured = loop.coloured(0)
    assert coloured is not None
    assert coloured.mean() < 0.01


def test_twelve_bit_jpeg() -> None:
    path = get_testdata_file("JPGExtended.dcm", download=False)
    assert path is not None
    loop = read(str(path))
    assert loop.lossy == ("JPEG extended",)
    # pydicom's own tests name these stored values: 244 at [420, 140], 95 at [230, 120]; black is 0, white 264
    assert abs(loop.frames[0, 420, 140] - 244 * 255 / 264) <= 1
    assert abs(loop.frames[0, 230, 120] - 95 * 255 / 264) <= 1


def test_every_file_that_comes_with_pydicom_is_read_or_refused_in_a_sentence() -> None:
    import pydicom

    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    files = sorted(folder.glob("*.dcm"))
    assert len(files) > 50
    loops = 0
    for file in files:
        try:
            loop = read(file)
        except InputError as error:
            assert str(file) in str(error)
            assert "\n" not in str(error)
        else:
            loops += 1
            assert loop.frames.ndim == 3
    assert loops > 40


def test_files_from_pydicom_decode_as_pydicom_decodes_them() -> None:
    from pydicom import dcmread
    from pydicom.pixels import pixel_array

    names = ("SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_rle_2frame.dcm", "examples_rgb_color.dcm")
    for name in names:
        path = get_testdata_file(name, download=False)
        assert path is not None
        loop = read(str(path))
        truth = pixel_array(dcmread(path)).reshape(-1, *loop.size, 3)
        weights = np.array([0.299, 0.587, 0.114])
        assert np.abs(loop.frames - truth @ weights).max() <= 1.0, name


@pytest.mark.parametrize("syntax", [make.EXPLICIT_LITTLE, make.DEFLATED, make.RLE, make.JPEG_BASELINE])
@pytest.mark.parametrize("offsets", [True, False])
def test_a_loop_cut_short_keeps_its_whole_frames(tmp_path: Path, syntax: str, offsets: bool) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (8, 32, 40), dtype=np.uint8)
    path = make.write_dicom(tmp_path / "cut", frames, syntax=syntax, offset_table=offsets)
    whole = read(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    loop = read(path)
    assert 3 <= len(loop) <= 5
    assert np.array_equal(loop.frames, whole.frames[: len(loop)])
    assert f"Only {len(loop)} of 8 frames" in loop.warnings[0]
    assert np.allclose(np.diff(loop.times_ms), 40)
    path.write_bytes(data[: len(data) - len(data) * 95 // 100])
    with pytest.raises(InputError, match=r"cut off|damaged|no pixels"):
        read(path)


def test_a_damaged_frame_in_the_middle_is_left_out(tmp_path: Path) -> None:
    frames = make.sector_frames(5)
    path = make.write_dicom(tmp_path / "d", frames, syntax=make.JPEG_BASELINE)
    whole = read(path)
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data)) if data[i : i + 3] == b"\xff\xd8\xff"]
    data[starts[2] : starts[2] + 2] = b"\0\0"
    path.write_bytes(data)
    loop = read(path)
    assert np.array_equal(loop.frames, whole.frames[[0, 1, 3, 4]])
    assert np.allclose(loop.times_ms, [0, 40, 120, 160])  # the gap stays visible


def test_without_preamble_and_without_suffix(tmp_path: Path) -> None:
    frames = make.sector_frames()
    path = make.write_dicom(tmp_path / "LOOP0001", frames, syntax=make.IMPLICIT_LITTLE)
    data = path.read_bytes()
    length = int.from_bytes(data[140:144], "little")
    path.write_bytes(data[144 + length :])  # neither preamble nor file meta information
    assert np.array_equal(read(path).frames, frames)


@pytest.mark.parametrize(
    ("elements", "sentence"),
    [
        ({"Rows": 65535, "Columns": 65535}, "more than can be opened"),
        ({"NumberOfFrames": 0}, "holds no frames"),
        ({"NumberOfFrames": 2_000_000_000}, "more than can be opened"),
        ({"Rows": 0}, "nothing to show"),
        ({"SamplesPerPixel": 4}, "4 samples"),
        ({"PhotometricInterpretation": "CMYK"}, "CMYK"),
    ],
)
def test_absurd_headers(tmp_path: Path, elements: dict[str, object], sentence: str) -> None:
    path = make.write_dicom(tmp_path / "absurd", make.sector_frames(), **elements)
    with pytest.raises(InputError, match=sentence):
        read(path)


def test_a_jpeg_that_is_larger_than_its_header_is_refused(tmp_path: Path) -> None:
    """Native decoders write past their buffer for such files."""
    for syntax in (make.JPEG_BASELINE, make.JPEG_LOSSLESS, make.JPEG_LS, make.JPEG_2000_LOSSLESS):
        path = make.write_dicom(tmp_path / "lie", make.sector_frames(2), syntax=syntax, Rows=24)
        with pytest.raises(InputError, match="no frame can be decoded: a frame is 64 x 48"):
            read(path)


def test_no_names_in_sentences_and_logs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged header can put a patient's name into any element; none of it is shown or logged."""
    import random

    from mutate import damage

    data = make.write_dicom(tmp_path / "p", make.sector_frames(1, 16, 16), PatientName="Secret^Name").read_bytes()
    texts = []
    for seed in range(120):
        (tmp_path / "p").write_bytes(damage(data, random.Random(seed)))
        try:
            texts += read(tmp_path / "p").warnings
        except InputError as error:
            texts.append(str(error))
    assert len(texts) > 40
    assert "Secret" not in " ".join(texts) + caplog.text


_MEASURE = """
import sys
from pathlib import Path
from echoq_models.cine import read
loop = read(sys.argv[1])
status = Path("/proc/self/status").read_text()
print(*loop.frames.shape, status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("coloured", [False, True], ids=["grey", "wholly coloured"])
def test_a_long_loop_reads_within_a_gigabyte(tmp_path: Path, coloured: bool) -> None:
    """300 frames of 768 x 1024, YBR_FULL_422; also when every pixel is coloured and none can be dropped."""
    count = 60 if coloured else 300
    frames = make.sector_frames(2, 768, 1024)
    rgb = make.with_doppler(frames)
    if coloured:
        rgb[..., 0] = np.linspace(30, 255, 1024).astype(np.uint8)
        rgb[..., 2] = np.linspace(255, 30, 768).astype(np.uint8)[:, None]
    path = make.write_dicom(
        tmp_path / "long",
        make.rgb_to_ybr(rgb),
        syntax=make.JPEG_BASELINE,
        photometric="YBR_FULL_422",
        repeat=count // 2,
    )
    result = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    *shape, peak_kib = map(int, result.stdout.split())
    assert shape == [count, 768, 1024]
    assert peak_kib < 1 << 20, f"peak of {peak_kib / 1024:.0f} MiB"
