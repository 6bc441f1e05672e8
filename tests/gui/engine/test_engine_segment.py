"""The left ventricle through the engine: found in the worker, with progress, cancelled and restarted like any job."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_recorder import Recorder, npz

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Settings
from echoq_models.segment import Segmentation, available, segment
from tests.make_networks import bright_loop, save_bright

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc are the tools of these tests")

Start = Callable[..., Recorder]


@pytest.fixture(scope="module", autouse=True)
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Weights "lv" that take bright pixels for the left ventricle, here and in the workers."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("weights")
        patch.setenv("ECHOQ_WEIGHTS", str(folder))
        save_bright(folder)
        yield


@pytest.fixture
def beating(tmp_path: Path) -> tuple[Path, CineLoop]:
    """A file of forty frames with a bright ellipse."""
    loop, _ = bright_loop(40)
    np.savez(tmp_path / "beating.npz", frames=loop.frames, times_ms=loop.times_ms)
    return tmp_path / "beating.npz", loop


def segmentation(heard: Recorder, loop_id: int) -> Segmentation:
    """The last one that was told of a loop."""
    found: Any = heard.all("segmented", loop_id)[-1][1]
    assert isinstance(found, Segmentation)
    return found


def test_a_loop_comes_back_as_it_would_here(heard: Recorder, beating: tuple[Path, CineLoop]) -> None:
    opened = heard.open(beating[0])
    job = heard.engine.segment(opened.loop_id)
    kind, facts = heard.end(job, 60)
    assert kind == "finished", facts
    found, here = segmentation(heard, opened.loop_id), segment(beating[1], device="cpu")
    np.testing.assert_array_equal(found.lv, here.lv)
    np.testing.assert_array_equal(found.confidence, here.confidence)
    assert found.found.all() and found.reasons == here.reasons and found.frames == tuple(range(40))
    assert facts["network"] == "lv" and facts["sha256"] == here.facts["sha256"]
    steps = heard.all("progress", job)
    assert [step[1] for step in steps] == list(range(1, 41)) and steps[-1][2:] == (40, "looking for the left ventricle")

    one = heard.engine.segment(opened.loop_id, [17])
    assert heard.end(one)[0] == "finished"
    alone = segmentation(heard, opened.loop_id)
    assert alone.frames == (17,) and np.flatnonzero(alone.found).tolist() == [17]
    np.testing.assert_array_equal(alone.lv[17], found.lv[17])

    kind, sentence = heard.end(heard.engine.segment(opened.loop_id, network="deeplab"))
    assert kind == "failed" and sentence == available("deeplab")
    for wrong in (lambda: heard.engine.segment(99), lambda: heard.engine.segment(opened.loop_id, [40])):
        with pytest.raises(ValueError, match="no"):
            wrong()


def test_no_lv_is_an_answer_and_not_a_failure(heard: Recorder, tmp_path: Path) -> None:
    opened = heard.open(npz(tmp_path / "grey.npz", 5))
    assert heard.end(heard.engine.segment(opened.loop_id), 60)[0] == "finished"
    found = segmentation(heard, opened.loop_id)
    assert not found.found.any() and not found.lv.any() and all(found.reasons)


def test_it_is_cancelled_before_it_began_and_in_its_middle(heard: Recorder, beating: tuple[Path, CineLoop]) -> None:
    opened = heard.open(beating[0])
    early = heard.engine.segment(opened.loop_id)
    heard.engine.cancel(early)
    assert heard.end(early) == ("cancelled",)
    middle = heard.engine.segment(opened.loop_id)
    heard.until(lambda: heard.all("progress", middle), 60)
    heard.engine.cancel(middle)
    kind = heard.end(middle)[0]
    assert kind in ("cancelled", "finished")
    assert len(heard.all("segmented", opened.loop_id)) == (kind == "finished")
    closed = heard.engine.segment(opened.loop_id)
    heard.engine.close_loop(opened.loop_id)
    assert heard.end(closed)[0] in ("cancelled", "failed")
    assert not heard.all("restarted")


def test_it_survives_the_worker_and_panes_go_on_beside_it(start: Start, beating: tuple[Path, CineLoop]) -> None:
    heard = start()
    opened = heard.open(beating[0])
    pane = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    heard.until(lambda: heard.frames_in_order(opened.loop_id, "slow"), 60)
    announced = heard.all("segmenters")[0][0]
    assert announced["lv"] == {"title": "Left ventricle", "missing": None}
    assert announced["deeplab"] == {"title": "DeepLabV3 (EchoNet-Dynamic)", "missing": available("deeplab")}
    job = heard.engine.segment(opened.loop_id)
    heard.kill()
    assert heard.end(job, 60)[0] == "finished"
    assert len(heard.all("restarted")) == 1 and segmentation(heard, opened.loop_id).found.all()
    assert heard.end(pane, 60)[0] == "finished"
