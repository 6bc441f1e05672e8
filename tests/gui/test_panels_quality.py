"""The quality dock on a real loop, a real engine and a simple denoiser: its figures are those of the metrics."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import examples
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication, QImage

from echoq_desktop.engine import Engine
from echoq_desktop.panels.quality import QualityPanel
from echoq_desktop.panels.quality_report import ROWS
from echoq_desktop.session import Session
from echoq_desktop.theme import LV, MYOCARDIUM
from echoq_models.errors import OutputError
from echoq_models.metrics.contrast import cnr, contrast
from echoq_models.metrics.gcnr import gcnr, loop_gcnr, median_ci, null_gcnr
from echoq_models.regions import FrameRegions, Regions, beat
from tests import make_files

HEART = Path(examples.get_path("ybr_color"))
METHOD = "darken"
CAVITY = np.array([[163.0, 86], [175, 84], [187, 92], [190, 102], [190, 114], [183, 121], [157, 127], [157, 118]])
WALLS = (
    np.array([[145.0, 88], [155, 88], [158, 97], [153, 112], [151, 121], [145, 121]]),
    np.array([[196.0, 98], [204, 98], [207, 110], [207, 126], [199, 126]]),
)
REGIONS = Regions((CAVITY,), WALLS)


@pytest.fixture
def session(engine: Engine, qtbot: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    """The cardiac loop of pydicom is open, with regions; the middle pane is the simple denoiser."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    made = Session(engine)
    made.set_middle(METHOD)
    made.hidden = {"bm3d"}
    with qtbot.waitSignal(made.current_changed, timeout=20_000):
        made.open_path(HEART)
    made.set_regions(REGIONS, "Draw")
    made._on_methods(engine.property("known"))  # the worker said it once, before this session was there
    yield made
    for loop in made.loops:
        made.close_loop(loop.loop_id)
    made.deleteLater()


@pytest.fixture
def panel(session: Session, qtbot: Any) -> QualityPanel:
    """The dock at its usual width, everything measured."""
    made = QualityPanel(session)
    qtbot.addWidget(made)
    made.resize(340, 760)
    made.show()
    qtbot.waitUntil(lambda: complete(made, "original") and complete(made, METHOD), timeout=30_000)
    return made


def complete(panel: QualityPanel, pane: str) -> bool:
    """Whether a pane's every frame and its median are there."""
    series = panel.numbers.series(pane)
    return series is not None and bool(series.fresh.all()) and series.median is not None


def cell(panel: QualityPanel, pane: str, row: str) -> str:
    """A cell of the table as it is read on screen."""
    return panel.table.columns()[panel.numbers.panes.index(pane)][ROWS.index(row)]


def frames_of(session: Session, pane: str) -> np.ndarray:
    """All frames of a pane."""
    assert session.current is not None
    return np.stack([session.frame_of(pane, t) for t in range(len(session.current.loop))])


def moved(regions: Regions, by: float) -> Regions:
    """The left ventricle's first vertex pulled to the left by some pixels."""
    lv = regions.lv[0].points.copy()
    lv[4, 0] -= by
    return replace(regions, lv=(lv, *regions.lv[1:]))


@pytest.mark.parametrize("t", [0, 17])
def test_the_table_shows_what_the_metrics_say(panel: QualityPanel, session: Session, qtbot: Any, t: int) -> None:
    assert session.current is not None
    session.set_frame(t)
    masks = session.regions.masks(session.current.loop.size, t)
    for pane in ("original", METHOD):
        frame = session.frame_of(pane, t)
        assert frame is not None
        qtbot.waitUntil(lambda p=pane, f=frame: cell(panel, p, "gCNR, frame") == f"{gcnr(f, *masks):.3f}", timeout=5000)
        assert cell(panel, pane, "Contrast") == f"{contrast(frame, *masks):.1f}".replace("-", "−")
        assert cell(panel, pane, "CNR") == f"{cnr(frame, *masks):.2f}"
        assert panel.strips[pane].figure == f"gCNR {gcnr(frame, *masks):.3f}"


def test_the_shaded_overlap_is_one_minus_gcnr(panel: QualityPanel, session: Session) -> None:
    strip = panel.strips["original"]
    assert session.current is not None and strip.lv is not None and strip.myocardium is not None
    assert strip.lv.sum() == pytest.approx(1) and strip.myocardium.sum() == pytest.approx(1)
    masks = session.regions.masks(session.current.loop.size)
    shown = 1 - np.minimum(strip.lv, strip.myocardium).sum()
    assert shown == pytest.approx(gcnr(session.current.loop.frames[session.frame], *masks), abs=1e-12)


def test_curve_and_median_are_those_of_the_loop(panel: QualityPanel, session: Session, qtbot: Any) -> None:
    assert session.current is not None
    masks = session.regions.masks(session.current.loop.size)
    for pane in ("original", METHOD):
        expected = loop_gcnr(frames_of(session, pane), masks)
        qtbot.waitUntil(lambda p=pane, e=expected: np.array_equal(panel.curve.values(p), e), timeout=5000)
        interval = median_ci(expected)
        median = f"{interval.median:.3f}"
        qtbot.waitUntil(lambda p=pane, m=median: cell(panel, p, "gCNR, loop") == m, timeout=5000)
        assert cell(panel, pane, "95 % CI") == f"{interval.low:.2f}–{interval.high:.2f}"
        assert cell(panel, pane, "Frames") == "30"


def test_figures_follow_a_dragged_vertex_without_an_undo_step(
    panel: QualityPanel, session: Session, qtbot: Any
) -> None:
    assert session.current is not None
    start, steps = session.regions, session.undo_stack.count()
    frame = session.current.loop.frames[session.frame]
    for by in (3.0, 6.0, 9.0):
        dragged = moved(start, by)
        session.preview_regions(dragged)
        expected = f"{gcnr(frame, *dragged.masks(session.current.loop.size)):.3f}"
        qtbot.waitUntil(lambda e=expected: cell(panel, "original", "gCNR, frame") == e, timeout=5000)
    assert session.undo_stack.count() == steps
    session.cancel_preview()
    before = f"{gcnr(frame, *start.masks(session.current.loop.size)):.3f}"
    qtbot.waitUntil(lambda: cell(panel, "original", "gCNR, frame") == before, timeout=5000)


def test_a_drag_is_followed_at_least_thirty_times_a_second(panel: QualityPanel, session: Session, qapp: Any) -> None:
    start, costs = session.regions, []
    measure = panel._measure_now
    panel._now._call = lambda: costs.append(timed(measure))
    until = time.perf_counter() + 1.0
    while time.perf_counter() < until:
        session.preview_regions(moved(start, 6 * np.sin(8 * time.perf_counter())))
        qapp.processEvents()
        time.sleep(0.004)
    assert np.median(costs) < 1 / 60
    assert len(costs) > 10


def timed(call: Any) -> float:
    """Seconds of processor time a call takes: what other programs do meanwhile does not count."""
    start = time.thread_time()
    call()
    return time.thread_time() - start


def test_after_a_drag_the_curve_follows_and_the_window_is_not_held_up(
    panel: QualityPanel, session: Session, qtbot: Any
) -> None:
    assert session.current is not None
    after = moved(session.regions, 7)
    held: list[float] = []
    keep = panel.numbers._keep
    panel.numbers._relay.found.disconnect()
    panel.numbers._relay.found.connect(lambda *found: held.append(timed(lambda: keep(*found))))
    session.set_regions(after, "Move handle")
    assert not panel.numbers.series("original").fresh.any()  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: complete(panel, "original") and complete(panel, METHOD), timeout=10_000)
    expected = loop_gcnr(session.current.loop.frames, after.masks(session.current.loop.size))
    qtbot.waitUntil(lambda: np.array_equal(panel.curve.values("original"), expected), timeout=5000)
    assert np.median(held) < 0.03


def test_only_frames_whose_regions_changed_are_measured_again(
    panel: QualityPanel, session: Session, qtbot: Any
) -> None:
    frames = {t: FrameRegions((CAVITY + t * 0.1,), WALLS) for t in range(30)}
    session.set_regions(Regions(frames=frames), "every frame its own")
    qtbot.waitUntil(lambda: complete(panel, "original"), timeout=10_000)
    session.set_regions(Regions(frames={**frames, 7: FrameRegions((CAVITY + 3.0,), WALLS)}), "one frame")
    series = panel.numbers.series("original")
    assert series is not None and np.flatnonzero(~series.fresh).tolist() == [7] and series.median is None
    qtbot.waitUntil(lambda: complete(panel, "original"), timeout=10_000)


def test_frames_that_cannot_be_measured_are_left_out_and_counted(
    panel: QualityPanel, session: Session, qtbot: Any
) -> None:
    frames = {t: FrameRegions((CAVITY,), WALLS) for t in range(30)}
    frames |= {t: FrameRegions((CAVITY,), (CAVITY + 2,)) for t in (3, 4)}  # they overlap
    session.set_regions(Regions(frames=frames), "two bad frames")
    qtbot.waitUntil(lambda: complete(panel, "original"), timeout=10_000)
    qtbot.waitUntil(lambda: cell(panel, "original", "Frames") == "28/30", timeout=5000)
    values = panel.curve.values("original")
    assert np.flatnonzero(np.isnan(values)).tolist() == [3, 4]
    median = f"{np.nanmedian(values):.3f}"
    qtbot.waitUntil(lambda: cell(panel, "original", "gCNR, loop") == median, timeout=5000)
    assert any(text.startswith("2 frames are left out") for text in panel.notes.sentences())


def test_a_lossy_source_carries_a_badge(panel: QualityPanel, session: Session, qtbot: Any, tmp_path: Path) -> None:
    assert panel.table.badge.isVisible() and "can raise gCNR" in panel.table.badge.toolTip()
    assert "Lossy source" in panel.text()
    clean = make_files.write_dicom(tmp_path / "clean.dcm", make_files.sector_frames(4))
    with qtbot.waitSignal(session.current_changed, timeout=20_000):
        session.open_path(clean)
    assert not panel.table.badge.isVisible() and "Lossy" not in panel.text()


def test_a_median_that_comes_late_is_not_taken_for_that_of_the_next_loop(
    panel: QualityPanel, session: Session, qtbot: Any, tmp_path: Path
) -> None:
    before = panel.numbers.series("original")
    assert before is not None and before.median is not None
    other = tmp_path / "other.dcm"
    other.write_bytes(HEART.read_bytes())
    with qtbot.waitSignal(session.current_changed, timeout=20_000):
        session.open_path(other)
    now = panel.numbers._series("original")
    assert now is not None and now is not before
    panel.numbers._keep_median("original", before.version, before.median)
    assert now.median is None


def test_a_new_result_replaces_the_old_figures(panel: QualityPanel, session: Session, qtbot: Any) -> None:
    before = panel.numbers.series(METHOD)
    assert before is not None and before.fresh.all()
    session.set_settings(replace(session.settings, strength=0.5))
    assert not before.fresh.any()
    qtbot.waitUntil(lambda: complete(panel, METHOD), timeout=20_000)
    session.set_settings(replace(session.settings, strength=1.0))


def test_figures_come_while_the_frames_do(session: Session, qtbot: Any) -> None:
    session.set_middle("slow")
    panel = QualityPanel(session)
    qtbot.addWidget(panel)
    panel.show()
    seen: set[tuple[str, str]] = set()

    def whole() -> bool:
        seen.add((cell(panel, "slow", "Frames"), cell(panel, "slow", "gCNR, loop")))
        return cell(panel, "slow", "gCNR, loop").startswith("0.")

    qtbot.waitUntil(whole, timeout=20_000)
    parts = {count: median for count, median in seen if "/" in count}
    assert len(parts) > 2 and set(parts.values()) == {"…"}  # no median of half a beat beside that of a whole one
    assert session.current is not None
    expected = loop_gcnr(frames_of(session, "slow"), session.regions.masks(session.current.loop.size))
    qtbot.waitUntil(lambda: np.array_equal(panel.curve.values("slow"), expected), timeout=5000)


def test_a_click_on_the_curve_goes_to_that_frame(panel: QualityPanel, session: Session, qtbot: Any) -> None:
    box = panel.curve.getPlotItem().vb
    place = panel.curve.mapFromScene(box.mapViewToScene(pg_point(21, 0.5)))
    qtbot.mouseClick(panel.curve.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place.x(), place.y()))
    assert session.frame == 20
    qtbot.keyClick(panel.curve, Qt.Key.Key_Left)
    qtbot.waitUntil(lambda: session.frame == 19, timeout=5000)


def pg_point(x: float, y: float) -> Any:
    """A point of the plot."""
    from PySide6.QtCore import QPointF

    return QPointF(x, y)


def test_key_frames_are_measured_with_their_own_regions(panel: QualityPanel, session: Session, qtbot: Any) -> None:
    assert session.current is not None
    regions = replace(REGIONS, frames={10: FrameRegions(lv=(CAVITY + np.array([3.0, -4.0]),))})
    session.set_regions(regions, "Key frame")
    size, frames = session.current.loop.size, session.current.loop.frames
    qtbot.waitUntil(lambda: complete(panel, "original"), timeout=10_000)
    expected = loop_gcnr(frames, lambda t: regions.masks(size, t))
    qtbot.waitUntil(lambda: np.array_equal(panel.curve.values("original"), expected), timeout=5000)
    assert not np.array_equal(expected[10:], loop_gcnr(frames, REGIONS.masks(size))[10:])


def test_csv_holds_every_frame_of_every_pane(panel: QualityPanel, session: Session, qtbot: Any, tmp_path: Path) -> None:
    assert session.current is not None and session.current.spacing is not None
    qtbot.waitUntil(lambda: panel.numbers.areas is not None, timeout=10_000)
    path = tmp_path / "gcnr.csv"
    panel.save_csv(path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    loop = session.current.loop
    masks = session.regions.masks(loop.size)
    assert [int(row["frame"]) for row in rows] == list(range(1, len(loop) + 1))
    np.testing.assert_allclose([float(row["time_ms"]) for row in rows], loop.times_ms, atol=1e-3)
    area = beat.areas(session.regions, len(loop), session.current.spacing)
    np.testing.assert_allclose([float(row["lv_area_mm2"]) for row in rows], area, atol=0.01)
    for pane in ("original", METHOD):
        expected = loop_gcnr(frames_of(session, pane), masks)
        np.testing.assert_allclose([float(row[f"gcnr_{pane}"]) for row in rows], expected, atol=1e-6)
        frame = session.frame_of(pane, 7)
        assert frame is not None
        assert float(rows[7][f"contrast_grey_{pane}"]) == pytest.approx(contrast(frame, *masks), abs=1e-5)
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".csv"] == ["gcnr.csv"]


def test_an_unwritable_place_is_said_in_one_sentence(panel: QualityPanel, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        panel.save_csv(tmp_path / "missing" / "gcnr.csv")


def test_figure_and_table_can_be_taken_along(panel: QualityPanel, tmp_path: Path) -> None:
    panel.save_figure(tmp_path / "figure.png")
    image = QImage(str(tmp_path / "figure.png"))
    shape = (image.height(), image.bytesPerLine() // 4)
    pixels = np.frombuffer(image.constBits(), np.uint32).reshape(shape) & 0xFFFFFF
    assert image.width() == 2 * 340
    for colour in (LV, MYOCARDIUM):  # both histograms are in the picture
        assert (pixels == int(colour[1:], 16)).sum() > 100
    panel.copy_table()
    lines = QGuiApplication.clipboard().text().splitlines()
    assert lines[0].split("\t")[1:] == ["Original", "Darken"]
    assert lines[1].split("\t") == ["gCNR, frame", cell(panel, "original", ROWS[0]), cell(panel, METHOD, ROWS[0])]


def test_what_is_missing_or_wrong_is_said(panel: QualityPanel, session: Session, qtbot: Any) -> None:
    assert session.current is not None
    full = session.regions

    def says(part: str) -> None:
        qtbot.waitUntil(lambda: any(part in text for text in panel.notes.sentences()), timeout=5000)

    session.set_regions(Regions(), "clear")
    says("Draw both regions")
    assert cell(panel, "original", "gCNR, frame") == "–"
    session.set_regions(Regions(lv=full.lv), "one")
    says("Draw the myocardium too")
    session.set_regions(Regions(lv=full.lv, myocardium=full.lv), "twice the same")
    says("share")
    assert panel.strips["original"].lv is None
    small = Regions(
        lv=(np.array([[150.0, 80], [169, 80], [169, 99], [150, 99]]),),
        myocardium=(np.array([[150.0, 110], [189, 110], [189, 159], [150, 159]]),),
    )
    session.set_regions(small, "small")
    says(f"would already read {null_gcnr(400, 2000):.2f}")
    says("left ventricle 400 pixels")


def test_with_no_loop_open_it_says_so(engine: Engine, qtbot: Any) -> None:
    session = Session(engine)
    panel = QualityPanel(session)
    qtbot.addWidget(panel)
    panel.show()
    qtbot.waitUntil(lambda: panel.notes.sentences() == ["Open a loop to measure it."], timeout=5000)
    session.deleteLater()
