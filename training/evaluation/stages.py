"""The stages of the evaluation: each draws its frames, sends them through the methods, records, and draws pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.evaluation import certainty as trust
from training.evaluation import fidelity, flicker, hazed, native, nulls, plots, real, sets
from training.evaluation.methods import Method, best_bm3d, frame_ms, network
from training.evaluation.records import Records
from training.evaluation.sets import FrameSet

Frames = NDArray[np.uint8]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Sizes:
    """How much is looked at.

    loops, frames: held-out loops and frames of each.  slow: loops whose first frame goes through slow methods (BM3D,
    and networks that take over 0.2 s of processor time for a frame).  search: frames on which BM3D's noise level is
    searched.  clean: clean frames.  beats, beat_frames: whole beats, and the most frames of one; slow_beats: of these
    for slow methods.  null: frames of each null test.  sure: frames for the confidence.  native: frames at native
    size.  hazed: frames of each clear loop.  real: frames of each real loop.  slow_few: frames of each other set that
    slow networks see.
    """

    loops: int = 200
    frames: int = 5
    slow: int = 72
    search: int = 6
    clean: int = 64
    beats: int = 6
    beat_frames: int = 24
    slow_beats: int = 2
    null: int = 64
    sure: int = 48
    native: int = 16
    hazed: int = 12
    real: int = 60
    slow_few: int = 16


QUICK = Sizes(
    loops=8, frames=2, slow=3, search=1, clean=3, beats=1, beat_frames=6, null=3, sure=4, native=1, hazed=3, real=4
)


@dataclass
class Run:
    """What one evaluation holds. folder: of the report.  pictures: (file, caption) by section."""

    sizes: Sizes
    folder: Path
    say: Say
    networks: list[Method] = field(default_factory=list)
    bm3d: Method | None = None
    sigma: float = float("nan")
    records: Records = field(default_factory=Records)
    certainty: dict[str, trust.Certainty] = field(default_factory=dict)
    milliseconds: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    pictures: dict[str, list[tuple[Path, str]]] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def tell(self, text: str) -> None:
        """Say a line of progress with the seconds since the start."""
        self.say(f"[{time.perf_counter() - self.started:5.0f} s] {text}")

    def picture(self, section: str, name: str, caption: str) -> Path:
        """Where a picture of that name goes; it will stand in the section under its caption."""
        path = self.folder / f"{name}.png"
        self.pictures.setdefault(section, []).append((path, caption))
        return path

    @property
    def methods(self) -> list[Method]:
        """BM3D and the networks."""
        return [*([self.bm3d] if self.bm3d else []), *self.networks]


def seen(run: Run, method: Method, data: FrameSet) -> FrameSet:
    """What a method sees of a set: all, or a few frames if it is slow."""
    return data[slice(0, run.sizes.slow_few)] if method.slow else data


def held_out(run: Run, names: Sequence[str]) -> FrameSet:
    """Held-out loops: every figure of the networks called `names` and of BM3D, box plots, strips. Returns the loops."""
    sizes = run.sizes
    run.tell(f"drawing {sizes.loops} held-out loops of {sizes.frames} frames")
    data = sets.held_out(sizes.loops, sizes.frames)
    run.networks = [network(name, data.noisy[:1]) for name in names]
    part = data.firsts(sizes.slow)
    some = part[slice(0, sizes.search)]
    run.tell("searching BM3D's noise level")
    run.bm3d, run.sigma = best_bm3d(list(zip(some.noisy, some.clean, some.sector, strict=True)))
    for name, images in {"original": data.noisy, "oracle": data.target, "clean": data.clean}.items():
        run.records.add(fidelity.held_out_records(data, name, images))
    run.records.add(fidelity.held_out_records(part, "black ellipse", black_ellipses(part)))
    results = {}
    for method in run.methods:
        frames = part if method.slow else data
        run.tell(f"{method.name} on {len(frames)} held-out frames")
        images = fidelity.through(method, frames)
        run.records.add(fidelity.held_out_records(frames, method.name, images))
        first = np.unique(frames.loop, return_index=True)[1][: len(part)]
        results[method.name] = images[first]
    _held_out_pictures(run, part, results)
    return data


def black_ellipses(data: FrameSet) -> Frames:
    """The cheat that gCNR rewards most: the noisy frames with a black ellipse over the LV region, (N, H, W)."""
    out = data.noisy.copy()
    for frame, lv in zip(out, data.lv, strict=True):
        points = np.argwhere(lv)[:, ::-1].astype(np.float32)
        (x, y), (short, long), angle = cv2.fitEllipse(cv2.convexHull(points))
        cv2.ellipse(frame, ((x, y), (short, long), angle), 0, -1)
    return out


def _held_out_pictures(run: Run, part: FrameSet, results: dict[str, Frames]) -> None:
    order = ["original", "bm3d", *(m.name for m in run.networks), "oracle", "clean"]
    panels = [
        plots.Panel("held-out", "gcnr", "gCNR", (0.0, 1.02)),
        plots.Panel("held-out", "psnr_db", "PSNR to the clean twin, dB", without=("clean",)),
        plots.Panel("held-out", "ssim", "SSIM to the clean twin", without=("clean",)),
        plots.Panel("held-out", "ks_lv", "KS distance in the LV", (-0.02, 1.02), without=("clean",)),
        plots.Panel("held-out", "ks_septum", "KS distance in the septum", (-0.02, 1.02), without=("clean",)),
    ]
    caption = (
        "Notches: bootstrap 95 % interval of the median, whole loops resampled. KS: grey levels, to the clean twin."
    )
    plots.boxes(run.picture("held-out", "held_out_boxes", caption), run.records, panels, order)
    judge = run.networks[0].name
    found = run.records.find("held-out", judge, "psnr_db")
    quality = np.array([found[str(loop), 0] for loop in part.loop])
    picks = np.argsort(quality)[np.unique(np.linspace(0, len(part) - 1, 5).round().astype(int))]
    rows = [[part.noisy[i], *(images[i] for images in results.values()), part.target[i], part.clean[i]] for i in picks]
    titles = ["original", *results, "oracle target", "clean twin"]
    labels = [f"loop {part.loop[i] + 1}\n{judge} {quality[i]:.1f} dB" for i in picks]
    caption = f"From the worst to the best of {len(part)} loops, by {judge}'s PSNR to the clean twin."
    plots.strip(run.picture("held-out", "held_out_strips", caption), rows, titles, labels)


def clean(run: Run, data: FrameSet) -> None:
    """Clean frames should come out as they went in."""
    firsts = data.firsts(run.sizes.clean)
    for method in run.networks:
        part = seen(run, method, firsts)
        run.tell(f"{method.name} on {len(part)} clean frames")
        rows, result = fidelity.clean_records(part, method)
        run.records.add(rows)
        picks = worst_and_median([r.values["psnr_db"] for r in rows])
        path = run.picture("clean", f"clean_{method.name}", f"{method.name}: the worst and the median clean frame.")
        pictures = [[part.clean[i], result[i], plots.difference(part.clean[i], result[i])] for i in picks]
        labels = [f"{rows[i].values['psnr_db']:.1f} dB" for i in picks]
        plots.strip(path, pictures, ["clean in", "out", "difference x 4"], labels)


def beats(run: Run) -> None:
    """Whole beats: flicker of each method against the original's, and the time of a frame."""
    run.tell(f"drawing {run.sizes.beats} whole beats")
    found = sets.beats(run.sizes.beats, run.sizes.beat_frames)
    for number, beat in enumerate(found):
        for name, images in {
            "original": beat.frames.noisy,
            "oracle": beat.frames.target,
            "clean": beat.frames.clean,
        }.items():
            run.records.add(flicker.beat_records(beat, number, name, images))
        for method in run.methods:
            if not method.slow or number < run.sizes.slow_beats:
                run.records.add(flicker.beat_records(beat, number, method.name, method.run(beat.frames.noisy)))
    order = ["original", *(m.name for m in run.methods), "oracle", "clean"]
    path = run.picture("flicker", "beats", "gCNR over a beat. A method should not jump where the original does not.")
    plots.beat_curves(path, run.records, order)
    probe = found[0].frames.noisy
    for method in run.methods:
        run.milliseconds[method.name] = frame_ms(method.name, probe[:4] if method.slow else probe)


def null_tests(run: Run) -> None:
    """Frames in which there is nothing to find; the worst and the median frame of each kind in pictures."""
    run.tell(f"null tests, {run.sizes.null} frames of each kind")
    tests = nulls.null_tests(run.sizes.null)
    for method in run.networks:
        pictures, labels = [], []
        for test in tests:
            data = seen(run, method, test.frames)
            rows, result = nulls.null_records(replace(test, frames=data), method)
            run.records.add(rows)
            bad = [-r.values["gain"] if test.is_speckle else r.values["share"] for r in rows]
            for i, rank in zip(worst_and_median([-b for b in bad]), ("worst", "median"), strict=False):
                dynamic_range = float(data.dynamic_range_db[i])
                beyond = nulls.beyond_db(data.noisy[i], result[i], data.target[i], dynamic_range)
                red = plots.marked(result[i], (beyond > nulls.INVENTED_DB) & data.sector[i])
                pictures.append([data.noisy[i], result[i], data.target[i], red])
                labels.append(f"{test.key}, {rank}\n{100 * rows[i].values['share']:.2f} %")
        caption = (
            f"{method.name}: red is darkened more than 6 dB beyond the oracle target, its share stands on the left."
        )
        path = run.picture("nulls", f"nulls_{method.name}", caption)
        plots.strip(path, pictures, ["in", method.name, "oracle target", "in red: invented"], labels)


def worst_and_median(goodness: Sequence[float]) -> list[int]:
    """The index of the least good, and of the median one where that is another."""
    order = np.argsort(goodness)
    return list(dict.fromkeys([int(order[0]), int(order[len(order) // 2])]))


def confidence(run: Run) -> None:
    """Each network's confidence against its true error."""
    data = sets.anything(run.sizes.sure)
    for method in run.networks:
        run.tell(f"{method.name}: confidence on {len(data)} frames of all kinds")
        found = trust.certainty(method, seen(run, method, data))
        if found is not None:
            run.certainty[method.name] = found
    if run.certainty:
        caption = "Mean and quartiles of the error, by confidence; below, how many pixels have it."
        plots.reliability_plot(run.picture("confidence", "reliability", caption), run.certainty)


def native_size(run: Run) -> None:
    """Output at the scanner's own size against the 256 output enlarged."""
    run.tell(f"{run.sizes.native} frames of {sets.NATIVE_SIZE[0]} x {sets.NATIVE_SIZE[1]}")
    data = sets.native(run.sizes.native)
    for method in run.networks:
        some = seen(run, method, data)
        rows, sizes = native.native_records(some, method)
        run.records.add(rows)
        height, width = data.noisy.shape[1:]
        y, x = slice(height // 4, height // 4 + 220), slice(width // 2 - 110, width // 2 + 110)
        images = (some.noisy, sizes.native, sizes.enlarged, some.clean)
        pictures = [[image[i][y, x] for image in images] for i in range(min(2, len(some)))]
        path = run.picture("native", f"native_{method.name}", f"{method.name}: a part of the frame, pixel for pixel.")
        titles = ["original", "native output", "256 enlarged", "clean twin"]
        plots.strip(path, pictures, titles, [f"frame {i + 1}" for i in range(len(pictures))])


def hazed_real(run: Run, paths: Sequence[Path]) -> None:
    """Clear real loops under haze of another make, each method against the frame before haze."""
    loops = list(hazed.hazed_loops(paths, run.sizes.hazed))
    search = max(1, run.sizes.search // (2 * len(loops)))
    bm3d, sigma = best_bm3d(
        [(f, c, p.sector) for p in loops for f, c in zip(p.hazed[:search], p.clear[:search], strict=True)]
    )
    run.tell(f"{len(loops)} clear loops under haze; BM3D's best noise level there is {sigma:g}")
    pictures, labels = [], []
    for number, loop in enumerate(loops):
        shown = {"hazed": loop.hazed}
        shown |= {method.name: method.stills(loop.hazed) for method in (bm3d, *run.networks)}
        shown |= {"oracle": loop.target}
        for name, images in shown.items():
            run.records.add(hazed.quality(loop, number, name, images))
        shown = {"before haze": loop.clear, **shown}
        for i in range(min(len(loop.level_db), 3 if len(loops) < 4 else 1)):
            pictures.append([plots.fitted(hazed.cropped(images[i], loop.sector)) for images in shown.values()])
            labels.append(f"{loop.name[:18]}\nhaze {loop.level_db[i]:+.0f} dB")
    titles = ["before haze", "hazed", *(m.name for m in (bm3d, *run.networks)), "oracle target"]
    plots.strip(run.picture("hazed", "hazed_strips", "Each level of haze."), pictures, titles, labels)
    order = ["hazed", "bm3d", *(m.name for m in run.networks), "oracle"]
    panels = [
        plots.Panel("hazed", "psnr_db", "PSNR to the frame before haze, dB"),
        plots.Panel("hazed", "ssim", "SSIM to the frame before haze"),
    ]
    caption = "All clear loops and levels; notches as above."
    plots.boxes(run.picture("hazed", "hazed_boxes", caption), run.records, panels, order)


def real_loops(run: Run, folder: Path) -> None:
    """Loops of a folder: separation where they have regions, and what was done besides."""
    pictures, labels = [], []
    for number, loop in enumerate(real.real_loops(folder, run.sizes.real, run.tell), start=1):
        run.tell(f"real loop {number}, {len(loop.frames)} frames")
        run.records.add(real.real_records(loop, "original", loop.frames))
        shown = [plots.outlined(loop.frames[0], *(loop.masks(0) if loop.regions else ()))]
        for method in run.methods:
            images = real.denoised(loop, method)
            run.records.add(real.real_records(loop, method.name, images))
            shown.append(plots.outlined(images[0]))
        pictures.append([plots.fitted(p) for p in shown])
        labels.append(loop.name[-24:])
    order = ["original", *(m.name for m in run.methods)]
    titles = ["original, regions", *order[1:]]
    plots.strip(run.picture("real", "real_strips", "The first frame of each loop."), pictures, titles, labels)
    if not run.records.methods("real"):
        return  # no loop has regions
    panels = [
        plots.Panel("real", "gcnr", "gCNR", (0.0, 1.02)),
        plots.Panel("real", "psnr_db", "PSNR to the input, dB", without=("original",)),
        plots.Panel("real", "kept", "muscle's mean grey, after / before", (0.0, 1.1)),
    ]
    caption = "All frames of all loops; notches: bootstrap 95 % interval, patients resampled."
    plots.boxes(run.picture("real", "real_boxes", caption), run.records, panels, order)
