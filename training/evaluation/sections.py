"""The report's sections, from what a run recorded. gCNR never stands in a table without fidelity beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from echoq_models.metrics.gcnr import SMALL_REGION_PIXELS, median_ci, null_gcnr
from training.evaluation.page import Section, Table
from training.evaluation.rows import NULL_PARTS, SPECKLE_PARTS, Row
from training.evaluation.stages import Run

NOTE = (
    "gCNR is never shown here without fidelity figures and pictures, because alone it is weak evidence: its rank "
    "correlation with cardiologists' judgement is 0.24 (Van De Vyver et al. 2024), and a black ellipse painted over "
    "the ventricle maximises it. What counts is whether a picture comes nearer to the truth and invents nothing. "
    "Research use only; figures of a phantom are not those of patients."
)


def sections(run: Run, rows: Sequence[Row]) -> list[Section]:
    """All sections of the report, in order; those without data are left out, or say what is missing."""
    return [
        _must_hold(rows),
        _held_out(run),
        _clean(run),
        _flicker(run),
        _confidence(run),
        _nulls(run),
        _native(run),
        _hazed(run),
        _real(run),
        _speed(run),
    ]


def _must_hold(rows: Sequence[Row]) -> Section:
    verdict = {True: "yes", False: "NO", None: ""}
    cells = [[r.quantity, r.method, r.wanted, r.measured, verdict[r.holds]] for r in rows]
    text = (
        "Medians over frames; PSNR and SSIM inside the sector. Null tests: the mean share over frames counts, and the "
        "worst frame for the local gain. An empty last cell: nothing is wanted there, or it was not measured."
    )
    table = Table(["quantity", "method", "wanted", "measured", "holds"], cells)
    return Section("must-hold", "What must hold", [text], [table])


def interval(run: Run, part: str, method: str, key: str, digits: int = 3) -> str:
    """ "median [low, high]" of a figure, empty where there is none."""
    found = run.records.interval(part, method, key)
    if found is None:
        return ""
    return f"{found.median:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _held_out(run: Run) -> Section:
    order = ["original", "bm3d", *(m.name for m in run.networks), "oracle", "clean", "black ellipse"]
    rows = []
    for name in order:
        count = len(run.records.find("held-out", name, "gcnr"))
        cells = [interval(run, "held-out", name, k) for k in ("gcnr", "ssim", "ks_septum", "ks_lv")]
        decibels = interval(run, "held-out", name, "psnr_db", 2) if name != "clean" else "the same"
        others = [f"{run.records.median('held-out', name, k):.{n}f}" for k, n in (("contrast", 1), ("cnr", 2))]
        rows.append([name, str(count), cells[0], decibels, *cells[1:], *others])
    head = ["method", "frames", "gCNR", "PSNR dB", "SSIM", "KS septum", "KS LV", "contrast", "CNR"]
    caption = "Median [95 % bootstrap interval, whole loops resampled]. Contrast in grey levels."
    text = [
        f"{run.sizes.loops} loops of {run.sizes.frames} frames, drawn from seeds that no training used, at the default "
        f"haze. BM3D runs at its best noise level ({run.sigma:g} grey levels, the best mean PSNR of those tried). "
        f"Methods with fewer frames are slow and see the first frame of {min(run.sizes.slow, run.sizes.loops)} loops; "
        "differences between methods are taken on the frames that both saw.",
        "The black ellipse is no denoiser: it shows what gCNR rewards, and that the other columns catch it.",
    ]
    tables = [Table(head, rows, caption), _null_table(run, "held-out", "original")]
    return Section("held-out", "Held-out phantom loops", text, tables, run.pictures.get("held-out", ()))


def _null_table(run: Run, part: str, method: str) -> Table:
    """What gCNR two identical regions of these sizes would read."""
    rows = []
    for name, statistic in (("median", np.median), ("smallest", np.min)):
        lv, muscle = (run.records.values(part, method, f"{region}_pixels") for region in ("lv", "myocardium"))
        if lv.size:
            a, b = int(statistic(lv)), int(statistic(muscle))
            small = f"below {SMALL_REGION_PIXELS}" if min(a, b) < SMALL_REGION_PIXELS else ""
            rows.append([name, str(a), str(b), f"{null_gcnr(a, b):.3f}", small])
    caption = "Null gCNR: what two regions of the same independent speckle read; correlated pixels read higher."
    return Table(["region size", "LV pixels", "myocardium pixels", "null gCNR", ""], rows, caption)


def _clean(run: Run) -> Section:
    rows = [
        [
            m.name,
            str(len(run.records.find("clean", m.name, "psnr_db"))),
            interval(run, "clean", m.name, "psnr_db", 2),
            interval(run, "clean", m.name, "ssim"),
            interval(run, "clean", m.name, "change", 2),
        ]
        for m in run.networks
    ]
    head = ["method", "frames", "PSNR to the input, dB", "SSIM to the input", "mean change, grey levels"]
    text = ["The clean twins themselves as input: there is no haze to take away, so they should come out unchanged."]
    return Section("clean", "Clean frames stay", text, [Table(head, rows)], run.pictures.get("clean", ()))


def _flicker(run: Run) -> Section:
    rows = []
    for name in run.records.methods("flicker"):
        cells = [name, str(len(run.records.find("flicker", name, "warping")))]
        for key, digits in (("gcnr_std", 4), ("warping", 2)):
            ours, theirs = run.records.find("flicker", name, key), run.records.find("flicker", "original", key)
            ratio = float(np.median([ours[k] / theirs[k] for k in ours])) if ours else math.nan
            cells += [f"{run.records.median('flicker', name, key):.{digits}f}", f"{ratio:.2f}"]
        rows.append(cells)
    head = ["method", "beats", "std of gCNR over a beat", "re original", "warping error, grey levels", "re original"]
    text = [
        "Warping error: the mean absolute difference of a frame to the next one, brought back along the true motion. "
        "Speckle that decorrelates gives the original one too; a method should add nothing. Medians over beats; the "
        "ratios are medians of each beat's ratio."
    ]
    return Section("flicker", "Flicker over whole beats", text, [Table(head, rows)], run.pictures.get("flicker", ()))


def _confidence(run: Run) -> Section:
    rows = [[name, f"{sure.rank_correlation:.3f}"] for name, sure in run.certainty.items()]
    text = [
        f"{run.sizes.sure} phantom frames of all kinds and haze levels. The error is the absolute difference of the "
        "result to the clean twin, averaged over 3 pixels; the correlation is Spearman's over pixels, with minus the "
        "error."
        if rows
        else "No network here gives a confidence."
    ]
    tables = [Table(["network", "rank correlation"], rows)] if rows else []
    return Section("confidence", "Confidence against true error", text, tables, run.pictures.get("confidence", ()))


def _nulls(run: Run) -> Section:
    rows = []
    for m in run.networks:
        for part, title in NULL_PARTS.items():
            shares, gains = 100.0 * run.records.values(part, m.name, "share"), run.records.values(part, m.name, "gain")
            cells = [m.name, title, str(shares.size), f"{shares.mean():.2f} %", f"{np.median(shares):.2f} %"]
            cells.append(f"{shares.max():.2f} %")
            speckle = part in SPECKLE_PARTS and gains.size
            rows.append(cells + ([f"{np.median(gains):.3f}", f"{gains.min():.3f}"] if speckle else ["", ""]))
    head = ["method", "frames of", "count", "share, mean", "median", "worst", "local gain, median", "worst"]
    text = [
        "Frames in which there is nothing to find. Share: of the sector, darkened more than 6 dB beyond the oracle "
        "target (grey difference times dynamic range / 255); for pure speckle the target is the input. Local gain: "
        "brightness averaged over 8 pixels, after over before, its 5th percentile within a frame; 1 is left alone."
    ]
    return Section("nulls", "Null tests", text, [Table(head, rows)], run.pictures.get("nulls", ()))


def _native(run: Run) -> Section:
    rows = [
        [name, interval(run, "native", name, "psnr_db", 2), interval(run, "native", name, "ssim")]
        for name in run.records.methods("native")
    ]
    text = [
        "The result on the scanner's own pixels, and the result at 256 lines enlarged, against the native clean twin."
    ]
    table = Table(["output", "PSNR dB", "SSIM"], rows)
    return Section("native", "Native size", text, [table], run.pictures.get("native", ()))


def _hazed(run: Run) -> Section:
    title = "Clear real frames, hazed by another formula"
    if not run.records.methods("hazed"):
        return Section("hazed", title, ["Not measured: no clear loops were given (--clear PATH)."])
    levels = sorted({r.values["haze_db"] for r in run.records if r.part == "hazed"})
    rows = []
    for name in run.records.methods("hazed"):
        here = [r for r in run.records if r.part == "hazed" and r.method == name]
        by_level = [np.median([r.values["psnr_db"] for r in here if r.values["haze_db"] == level]) for level in levels]
        cells = [interval(run, "hazed", name, "psnr_db", 2), interval(run, "hazed", name, "ssim")]
        rows.append([name, str(len(here)), *cells, *(f"{value:.2f}" for value in by_level)])
    head = ["method", "frames", "PSNR dB", "SSIM", *(f"PSNR at {level:+.0f} dB" for level in levels)]
    text = [
        "Grey as amplitude on a 60 dB display, a random phase, complex haze with a grain of its own under a smooth "
        "envelope, graded back to 8 bit. The reference is the frame before haze; levels are re the frame's tissue. "
        "BM3D again at its best noise level for these frames. The oracle knows the haze's envelope and the clear frame."
    ]
    return Section("hazed", title, text, [Table(head, rows)], run.pictures.get("hazed", ()))


def _real(run: Run) -> Section:
    title = "Real loops"
    if not run.records.methods("real flicker") and not run.records.methods("real"):
        return Section("real", title, ["Not measured: no folder was given (--real DIR)."])
    rows = []
    for loop in dict.fromkeys(r.loop for r in run.records if r.part == "real"):
        for name in run.records.methods("real"):
            rows.append(_real_row(run, loop, name))
    head = ["loop", "method", "frames", "gCNR", "null gCNR", "PSNR to the input", "kept", "contrast", "CNR", "flicker"]
    text = [
        "A real loop has no clean twin, so these figures cannot say what is true: look at the pictures. Kept: the "
        "muscle's mean grey after over before. Flicker: frame-to-frame change in still areas re the original's. BM3D "
        "runs at its best noise level of the phantom and, as other slow methods do, sees the first frame alone. "
        "Intervals: blocks of neighbouring frames resampled."
    ]
    plain = [
        _plain_row(run, loop, name)
        for loop in dict.fromkeys(r.loop for r in run.records if r.part == "real plain")
        for name in run.records.methods("real plain")
        if name != "original"
    ]
    head_plain = ["without regions", "method", "frames", "PSNR to the input", "sector's mean grey kept", "flicker"]
    tables = [Table(head, rows), Table(head_plain, plain)]
    return Section("real", title, text, [t for t in tables if t.rows], run.pictures.get("real", ()))


def _plain_row(run: Run, loop: str, name: str) -> list[str]:
    here = [r.values for r in run.records if (r.part, r.loop, r.method) == ("real plain", loop, name)]
    near, kept = (float(np.median([v[key] for v in here])) for key in ("psnr_db", "kept"))
    ratio = run.records.find("real flicker", name, "ratio").get((loop, 0))
    return [loop, name, str(len(here)), f"{near:.1f} dB", f"{kept:.2f}", f"{ratio:.2f}" if ratio is not None else ""]


def _real_row(run: Run, loop: str, name: str) -> list[str]:
    here = [r.values for r in run.records if (r.part, r.loop, r.method) == ("real", loop, name)]
    median = {key: float(np.median([v[key] for v in here])) for key in here[0]}
    ci = median_ci(np.array([v["gcnr"] for v in here]))
    ratio = run.records.find("real flicker", name, "ratio").get((loop, 0))
    null = null_gcnr(round(median["lv_pixels"]), round(median["myocardium_pixels"]))
    return [
        loop,
        name,
        str(len(here)),
        f"{ci.median:.3f} [{ci.low:.3f}, {ci.high:.3f}]",
        f"{null:.3f}",
        "" if name == "original" else f"{median['psnr_db']:.1f} dB",
        f"{median['kept']:.2f}",
        f"{median['contrast']:.1f}",
        f"{median['cnr']:.2f}",
        f"{ratio:.2f}" if ratio is not None and name != "original" else "",
    ]


def _speed(run: Run) -> Section:
    rows = [
        [name, f"{np.median(ms):.1f}", f"{np.quantile(ms, 0.99):.1f}", f"{1000 / np.median(ms):.1f}"]
        for name, ms in run.milliseconds.items()
    ]
    text = ["One frame of 256 x 256 at a time on this machine, crop and paste included; other work on it counts too."]
    table = Table(["method", "ms a frame, median", "99th percentile", "frames a second"], rows)
    return Section("speed", "Time", text, [table])
