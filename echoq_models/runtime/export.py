"""One loop denoised and written, alone or side by side: the job that the command line and the worker share.

Frames stream from denoiser to writer, so memory stays at the source loop and one batch for each method.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Settings, never
from echoq_models.errors import Cancelled, OutputError
from echoq_models.runtime.compose import CAPTION, Canvas

if TYPE_CHECKING:
    from echoq_models.cine.writer import WriteOptions

ORIGINAL = "original"
NO_PICTURE = (".npz", ".dcm")  # these hold one loop, not a picture of several

Progress = Callable[[int, int, str], None]  # done, total, what is going on
Frames = Iterator[NDArray[np.uint8]]
Facts = Mapping[str, Mapping[str, Any]]  # of each method, see `Prepared.facts`


def silent(done: int, total: int, text: str) -> None:
    """A progress receiver that ignores what it hears."""


@dataclass(frozen=True)
class ExportOptions:
    """What to write.

    method: a denoiser's name, or "original".  side_by_side: pane names in order, e.g. ("original", "fast");
    empty writes the denoised loop alone.  lossless: for metrics instead of for slides.
    overwrite: False refuses to replace a file that is there.
    """

    method: str = "fast"
    settings: Settings = field(default_factory=Settings)
    side_by_side: tuple[str, ...] = ()
    lossless: bool = False
    overwrite: bool = True


def denoise_file(
    source: Path,
    output: Path,
    options: ExportOptions,
    progress: Progress = silent,
    cancel: Cancel = never,
) -> dict[str, Any]:
    """Read `source`, denoise it and write `output`, whose suffix chooses the format.

    Returns the facts of what was written, ready for JSON. Raises InputError, WeightsError, OutputError, and
    Cancelled within one batch of `cancel()` turning true; nothing half-written is left behind.
    """
    from echoq_models.cine import read

    check_output(source, output, options)
    check_methods(panes_of(options))
    progress(0, 0, "reading")
    loop = read(source, progress=reading(progress, cancel))
    return _denoise(loop, source, output, options, progress, cancel)


def reading(progress: Progress, cancel: Cancel) -> Callable[[int, int], None]:
    """What `cine.read` calls with the frames done: passes them on, raises Cancelled once `cancel()` is true."""

    def tell(done: int, total: int) -> None:
        if cancel():
            raise Cancelled("Cancelled while reading.")
        progress(done, total, "reading")

    return tell


def _denoise(
    loop: CineLoop, source: Path, output: Path, options: ExportOptions, progress: Progress, cancel: Cancel
) -> dict[str, Any]:
    """`denoise_file` once the loop is in memory."""
    from echoq_models.denoise import registry

    started = time.monotonic()
    names = panes_of(options)
    facts: dict[str, dict[str, Any]] = {}
    streams: list[Frames] = []
    for name in names:
        if name == ORIGINAL:
            streams.append(iter(loop.frames))
            continue
        denoiser = registry.get(name)
        prepared = denoiser.prepare(loop, options.settings)
        facts[name] = dict(prepared.facts)
        running = denoiser.run(loop, prepared, range(len(loop)), cancel)
        streams.append(frame for _, frame in running)
    written = _write(loop, output, options, streams, facts, progress, cancel)
    seconds = time.monotonic() - started
    return {
        "input": str(source),
        "kind": loop.kind,
        **written,
        "methods": facts,
        "seconds": round(seconds, 3),
        "frames_per_second": round(len(loop) / seconds, 2),
        "warnings": list(loop.warnings),
    }


def export_loop(
    loop: CineLoop,
    output: Path,
    options: ExportOptions,
    frames_of: Callable[[str], Sequence[NDArray[np.uint8]] | NDArray[np.uint8]],
    progress: Progress = silent,
    cancel: Cancel = never,
    facts: Facts | None = None,
) -> dict[str, Any]:
    """Write a loop whose denoised frames are there already.

    frames_of: gives the uint8 (T, H, W) frames of a method's name; it is not asked for "original".
    facts: what each method said of itself when it was prepared, for the file's comment.
    Returns and raises as `denoise_file`.
    """
    if loop.source is not None:
        check_output(loop.source, output, options)
    started = time.monotonic()
    streams: list[Frames] = []
    for name in panes_of(options):
        frames = loop.frames if name == ORIGINAL else frames_of(name)
        if len(frames) != len(loop):
            raise OutputError(f"{output}: {name} has {len(frames)} of {len(loop)} frames; wait until it is done")
        streams.append(iter(frames))
    written = _write(loop, output, options, streams, facts or {}, progress, cancel)
    return {
        "input": str(loop.source or ""),
        "kind": loop.kind,
        **written,
        "seconds": round(time.monotonic() - started, 3),
    }


def panes_of(options: ExportOptions) -> tuple[str, ...]:
    """The methods that an export needs, "original" included where it is shown."""
    return options.side_by_side or (options.method,)


def title_of(name: str) -> str:
    """The title of a pane: "Original", or what the denoiser calls itself."""
    from echoq_models.denoise import registry

    return "Original" if name == ORIGINAL else registry.get(name).title


def check_methods(names: Sequence[str]) -> None:
    """Raise WeightsError when a method cannot run here, EchoQError when there is none of that name."""
    from echoq_models.denoise import registry
    from echoq_models.errors import WeightsError

    for name in names:
        if name != ORIGINAL and (missing := registry.get(name).available()):
            raise WeightsError(f"{name} cannot run: {missing}")


def check_output(source: Path, output: Path, options: ExportOptions) -> None:
    """Raise OutputError before any work when `output` cannot be what is asked for."""
    if output.resolve() == source.resolve():
        raise OutputError(f"{output}: this is the input itself; choose another output")
    if not options.overwrite and output.exists():
        raise OutputError(f"{output}: exists already; choose another name or allow overwriting")
    check_picture(output, options)


def check_picture(output: Path, options: ExportOptions) -> None:
    """Raise OutputError for panes side by side in a format that holds one loop."""
    if options.side_by_side and output.suffix.lower() in NO_PICTURE:
        raise OutputError(
            f"{output}: side by side is a picture, {output.suffix} holds one loop; use .mp4, .avi, .gif or a folder"
        )


def _write(
    loop: CineLoop,
    output: Path,
    options: ExportOptions,
    streams: Sequence[Frames],
    facts: Facts,
    progress: Progress,
    cancel: Cancel,
) -> dict[str, Any]:
    """Stream the panes into `output`; the writer names a whole file and drops an unfinished one."""
    from echoq_models.cine.writer import open_writer

    names = panes_of(options)
    canvas = Canvas([title_of(name) for name in names], loop.size) if options.side_by_side else None
    grey = canvas is None and (output.suffix.lower() == ".npz" or (loop.colour is None and loop.tint is None))
    total = len(loop)
    done = 0
    with open_writer(
        output,
        canvas.size if canvas else loop.size,
        loop.times_ms,
        options=_write_options(options, facts, canvas is not None),
        free=None if canvas else _free(loop),
    ) as writer:
        for frames in zip(*streams, strict=False):  # a stream ends early only when cancelled: checked below
            if cancel():
                break
            panes = [frame if grey else loop.rgb(done, frame) for frame in frames]
            writer.add(canvas.draw(panes) if canvas else panes[0])
            done += 1
            progress(done, total, f"writing {output.name}")
        if done < total:
            raise Cancelled(f"Cancelled after {done} of {total} frames; {output.name} was not written.")
    return {"output": str(output), "frames": total, "height": loop.size[0], "width": loop.size[1]}


def _write_options(options: ExportOptions, facts: Facts, drawn: bool) -> WriteOptions:
    """Captioned for research use wherever something is denoised; `drawn`: the picture says so already."""
    from echoq_models import __version__
    from echoq_models.cine.writer import WriteOptions

    methods = [name for name in panes_of(options) if name != ORIGINAL]
    if not methods:
        return WriteOptions(lossless=options.lossless)
    return WriteOptions(
        lossless=options.lossless,
        caption=None if drawn else CAPTION,
        title=f"{CAPTION}: {', '.join(methods)}",
        comment=f"{CAPTION}, EchoQ {__version__}, {', '.join(_spelled(name, facts.get(name, {})) for name in methods)}",
    )


def _spelled(method: str, facts: Mapping[str, Any]) -> str:
    """ "bm3d sigma 14.2": a method and the noise level that it was given, in grey levels."""
    return f"{method} sigma {facts['sigma']:g}" if facts.get("sigma") is not None else method


def _free(loop: CineLoop) -> NDArray[np.bool_]:
    """Pixels (H, W) outside the sector that are black in every frame: a caption hides nothing there."""
    from echoq_models.cine import sector
    from echoq_models.cine.writer import black_pixels

    return ~sector.fit(loop).mask & black_pixels(loop, loop.frames)
