"""The table "What must hold": what is wanted of each network, what was measured, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from training.evaluation.certainty import Certainty
from training.evaluation.records import Records

NULL_PARTS = {
    "chamberless": "chamberless tissue plus haze",
    "buried": "buried near field",
    "speckle": "pure speckle of the phantom",
    "other-speckle": "pure speckle of another make",
}
SPECKLE_PARTS = ("speckle", "other-speckle")


@dataclass(frozen=True)
class Limits:
    """What is wanted of a network. Lengths of the names' units; shares 0-1.

    native: whether output at native size must beat the enlarged one by `native_psnr_db` and `native_ssim`.
    """

    below_oracle: float = 0.04
    above_clean: float = 0.02
    over_bm3d_db: float = 7.0
    ks_septum: float = 0.18
    ks_lv: float = 0.35
    clean_psnr_db: float = 34.0
    darkened: float = 0.03
    speckle_gain: float = 0.75
    rank_correlation: float = 0.5
    native: bool = False
    native_psnr_db: float = 1.0
    native_ssim: float = 0.03
    hazed_over_input_db: float = 6.5
    hazed_over_bm3d_db: float = 6.0
    hazed_ssim: float = 0.15


LIMITS: Mapping[str, Limits] = {
    "fast": Limits(),
    "unet": Limits(
        below_oracle=0.03,
        over_bm3d_db=8.5,
        ks_septum=0.15,
        ks_lv=0.30,
        clean_psnr_db=36.0,
        darkened=0.02,
        speckle_gain=0.80,
        native=True,
    ),
}
NOISY_GCNR = (0.50, 0.62)


@dataclass(frozen=True)
class Row:
    """One line. holds: None where nothing was measured, or nothing is wanted."""

    quantity: str
    method: str
    wanted: str
    measured: str
    holds: bool | None


def must_hold(records: Records, networks: Mapping[str, Certainty | None]) -> list[Row]:
    """The whole table, from what was measured. networks: those under test, with their confidence's figures."""
    noisy = records.median("held-out", "original", "gcnr")
    low, high = NOISY_GCNR
    wanted = f"{low:.2f} to {high:.2f}"
    rows = [_row("gCNR of the default noisy set", "original", wanted, noisy, f"{noisy:.3f}", low <= noisy <= high)]
    for name, sure in networks.items():
        limits = LIMITS.get(name, LIMITS["fast"])
        rows += [*_truth(records, name, limits), *_nulls(records, name, limits)]
        rank, least = sure.rank_correlation if sure else math.nan, limits.rank_correlation
        title = "confidence against true error, Spearman"
        rows.append(_row(title, name, f">= {least:g}", rank, f"{rank:.2f}", rank >= least))
        rows += [*_native(records, name, limits), *_hazed(records, name, limits), *_real(records, name)]
    return rows


def _row(quantity: str, method: str, wanted: str, value: float, measured: str, holds: bool | None) -> Row:
    """A row. value: the figure that decides; nan where nothing was measured."""
    if not math.isfinite(value):
        return Row(quantity, method, wanted, "not measured", None)
    return Row(quantity, method, wanted, measured, holds)


def _truth(records: Records, name: str, limits: Limits) -> Iterator[Row]:
    ours, oracle, clean = (records.median("held-out", m, "gcnr") for m in (name, "oracle", "clean"))
    title, away, most = "gCNR, distance from the oracle target's", abs(ours - oracle), limits.below_oracle
    yield _row(title, name, f"within {most:g}", away, f"{away:.3f} ({ours:.3f} against {oracle:.3f})", away <= most)
    title, above, most = "gCNR above the clean twin's", ours - clean, limits.above_clean
    yield _row(title, name, f"<= {most:g}", above, f"{above:+.3f} ({ours:.3f} against {clean:.3f})", above <= most)
    title, over, least = "PSNR to the clean twin, above bm3d's", _over(records, name, "bm3d"), limits.over_bm3d_db
    yield _row(title, name, f">= {least:+g} dB", over, f"{over:+.2f} dB", over >= least)
    for key, region, most in (("ks_septum", "septum", limits.ks_septum), ("ks_lv", "LV", limits.ks_lv)):
        distance = records.median("held-out", name, key)
        title = f"KS distance to the clean twin, {region}"
        yield _row(title, name, f"<= {most:g}", distance, f"{distance:.3f}", distance <= most)
    title, same, least = (
        "clean frames: PSNR to the input",
        records.median("clean", name, "psnr_db"),
        limits.clean_psnr_db,
    )
    yield _row(title, name, f">= {least:g} dB", same, f"{same:.1f} dB", same >= least)


def _over(records: Records, name: str, other: str, part: str = "held-out") -> float:
    return records.gain(part, name, other, "psnr_db")


def _nulls(records: Records, name: str, limits: Limits) -> Iterator[Row]:
    for part, what in NULL_PARTS.items():
        shares = 100.0 * records.values(part, name, "share")
        mean, worst = (float(f(shares)) if shares.size else math.nan for f in (np.mean, np.max))
        untrue = 100.0 * records.values(part, name, "untrue")
        title, most = f"{what}: sector darkened > 6 dB beyond the oracle", 100.0 * limits.darkened
        measured = f"{mean:.2f} % (worst frame {worst:.1f} %"
        measured += f"; below the clean twin too: {untrue.mean():.2f} %)" if untrue.size else ")"
        yield _row(title, name, f"< {most:g} %", mean, measured, mean < most)
    for part in SPECKLE_PARTS:
        gains = records.values(part, name, "gain")
        worst, median = (float(f(gains)) if gains.size else math.nan for f in (np.min, np.median))
        title, least = f"{NULL_PARTS[part]}: darkest local gain, worst frame", limits.speckle_gain
        yield _row(title, name, f">= {least:g}", worst, f"{worst:.3f} (median frame {median:.3f})", worst >= least)


def _native(records: Records, name: str, limits: Limits) -> Iterator[Row]:
    decibels, likeness = (records.gain("native", name, f"{name} enlarged", key) for key in ("psnr_db", "ssim"))
    wanted = f">= {limits.native_psnr_db:+g} dB, {limits.native_ssim:+g} SSIM" if limits.native else ""
    good = decibels >= limits.native_psnr_db and likeness >= limits.native_ssim
    measured = f"{decibels:+.2f} dB, {likeness:+.3f} SSIM"
    title = "native output against the 256 output enlarged"
    yield _row(title, name, wanted, decibels, measured, good if limits.native else None)


def _hazed(records: Records, name: str, limits: Limits) -> Iterator[Row]:
    for other, title, least in (
        ("hazed", "hazed real frames: PSNR above the hazed input's", limits.hazed_over_input_db),
        ("bm3d", "hazed real frames: PSNR above bm3d's", limits.hazed_over_bm3d_db),
    ):
        over = _over(records, name, other, "hazed")
        yield _row(title, name, f">= {least:+g} dB", over, f"{over:+.2f} dB", over >= least)
    title, least = "hazed real frames: SSIM above the hazed input's", limits.hazed_ssim
    likeness = records.gain("hazed", name, "hazed", "ssim")
    yield _row(title, name, f">= {least:+g}", likeness, f"{likeness:+.3f}", likeness >= least)


def _real(records: Records, name: str) -> Iterator[Row]:
    before, after = records.find("real", "original", "gcnr"), records.find("real", name, "gcnr")
    share = 100.0 * float(np.mean([after[k] > before[k] for k in after])) if after else math.nan
    yield _row("real loops: frames whose gCNR rose", name, "100 %", share, f"{share:.1f} %", share == 100.0)
    ratios = records.values("real flicker", name, "ratio")
    worst = float(ratios.max()) if ratios.size else math.nan
    title = "real loops: flicker in still areas re the original's, worst loop"
    yield _row(title, name, "<= 1", worst, f"{worst:.2f}", worst <= 1.0)
