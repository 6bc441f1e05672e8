"""The sample job where no window can be shown: the same loop denoised, pictured and measured, into files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echoq_models import resources
from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Settings, never
from echoq_models.errors import Cancelled, OutputError
from echoq_models.files import replacing, write_csv
from echoq_models.runtime.compose import Canvas
from echoq_models.runtime.export import (
    ORIGINAL,
    ExportOptions,
    Progress,
    export_loop,
    reading,
    silent,
    title_of,
)
from echoq_models.runtime.measure import measure_frames


@dataclass(frozen=True)
class HeadlessOptions:
    """Where the files go and which methods run; the first that can run makes the denoised loop."""

    folder: Path = Path("echoq-output")
    methods: tuple[str, ...] = ("fast", "bm3d")
    settings: Settings = field(default_factory=Settings)


def run(
    options: HeadlessOptions,
    progress: Progress = silent,
    cancel: Cancel = never,
    say: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Denoised MP4, side-by-side still (PNG) and gCNR table (CSV) of the sample loop.

    say: receives one sentence for each method that cannot run. Returns "files" (three paths), "method" and
    "gcnr" (what `measure_frames` returns). Raises InputError, WeightsError, OutputError, Cancelled.
    """
    from echoq_models import cine, regions

    source, region_file = resources.sample()
    methods = _usable(options.methods, say)
    loop = cine.read(source, progress=reading(progress, cancel))
    drawn = regions.load(region_file)
    results = {name: _denoised(loop, name, options.settings, progress, cancel) for name in methods}
    found = measure_frames(loop, drawn, {ORIGINAL: loop.frames, **results}, silent, cancel)
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{options.folder}: the folder cannot be made ({error.strerror})") from error
    best = methods[0]
    movie = options.folder / f"sample-{best}.mp4"
    still = options.folder / "sample-side-by-side.png"
    table = options.folder / "sample-gcnr.csv"
    export_loop(loop, movie, ExportOptions(best, options.settings), results.__getitem__, progress, cancel)
    save_still(loop, len(loop) // 2, {ORIGINAL: loop.frames, **results}, still)
    save_table(found, table)
    return {"files": [movie, still, table], "method": best, "gcnr": found}


def _usable(names: Sequence[str], say: Callable[[str], None]) -> list[str]:
    from echoq_models.denoise import registry
    from echoq_models.errors import WeightsError

    usable = []
    for name in names:
        missing = registry.get(name).available()
        if missing is None:
            usable.append(name)
        else:
            say(f"{name} cannot run: {missing}")
    if not usable:
        raise WeightsError("No denoiser can run here: import or train weights first.")
    return usable


def _denoised(loop: CineLoop, name: str, settings: Settings, progress: Progress, cancel: Cancel) -> NDArray[np.uint8]:
    from echoq_models.denoise import registry

    denoiser = registry.get(name)
    prepared = denoiser.prepare(loop, settings)
    out = np.empty_like(loop.frames)
    done = 0
    for t, frame in denoiser.run(loop, prepared, range(len(loop)), cancel):
        out[t] = frame
        done += 1
        progress(done, len(loop), f"denoising with {name}")
    if done < len(loop):
        raise Cancelled("Cancelled while denoising.")
    return out


def save_still(loop: CineLoop, t: int, panes: Mapping[str, NDArray[np.uint8]], path: Path) -> None:
    """Frame `t` of each pane side by side as a PNG. Raises OutputError."""
    canvas = Canvas([title_of(name) for name in panes], loop.size)
    picture = canvas.draw([loop.rgb(t, frames[t]) for frames in panes.values()])
    try:
        with replacing(path) as new:
            Image.fromarray(picture).save(new, format="PNG")
    except OSError as error:
        raise OutputError(f"{path}: the still cannot be written ({error.strerror or error})") from error


def save_table(found: Mapping[str, Any], path: Path) -> None:
    """The gCNR of each frame (counted from 1), one column for each method. Raises OutputError."""
    names = list(found["methods"])
    rows = [
        [t + 1, time_ms, *(found["methods"][name]["gcnr"][t] for name in names)]
        for t, time_ms in enumerate(found["times_ms"])
    ]
    write_csv(path, [["frame", "time_ms", *names], *rows])
