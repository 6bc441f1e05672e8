"""One loop denoised and written, alone or side by side: the job that the command line and the worker share.

Frames stream from denoiser to writer, so memory stays at the source loop and one batch for each method.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Settings, never
from echoq_models.errors import Cancelled, InputError, OutputError
from echoq_models.runtime.cleaning import Cleaning, with_header
from echoq_models.runtime.compose import BOTH, CAPTION, SIMULATED, Canvas
from echoq_models.runtime.sidecar import ORIGINAL, Sidecar, sidecar_path

if TYPE_CHECKING:
    from echoq_models.cine.dicom_derive import Provenance
    from echoq_models.cine.writer import WriteOptions
    from echoq_models.regions import Regions

DICOM = ".dcm"
NO_PICTURE = (".npz", DICOM)  # these hold one loop, not a picture of several

Progress = Callable[[int, int, str], None]  # done, total, what is going on
Frames = Iterator[NDArray[np.uint8]]
Facts = Mapping[str, Mapping[str, Any]]  # of each method, see `Prepared.facts`


class LoopFrames(Protocol):
    """The frames uint8 (H, W) of a whole loop, in order: an array, a list, or what still comes while it is read."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[NDArray[np.uint8]]: ...


def silent(done: int, total: int, text: str) -> None:
    """A progress receiver that ignores what it hears."""


@dataclass(frozen=True)
class ExportOptions:
    """What to write.

    method: a denoiser's name, or "original".  side_by_side: pane names in order, e.g. ("original", "fast");
    empty writes the denoised loop alone.  lossless: for metrics instead of for slides.
    overwrite: False refuses to replace a file that is there.  dicom_encoding: of .dcm, "rle", "raw" or "jpeg-ls".
    regions: what the region file of the loop holds, for the sidecar of .dcm; None where there are none.
    deidentify: leave out what names the patient, see `Cleaning`.  keep_unjudged: then also write what may still show
    a name in its pixels.
    """

    method: str = "fast"
    settings: Settings = field(default_factory=Settings)
    side_by_side: tuple[str, ...] = ()
    lossless: bool = False
    overwrite: bool = True
    dicom_encoding: str = "rle"
    regions: Mapping[str, Any] | None = None
    deidentify: bool = False
    keep_unjudged: bool = False


def denoise_file(
    source: Path,
    output: Path,
    options: ExportOptions,
    progress: Progress = silent,
    cancel: Cancel = never,
) -> dict[str, Any]:
    """Read `source`, denoise it and write `output`, whose suffix chooses the format.

    Beside a .dcm goes a sidecar when the options have regions or a region file lies beside `source`; beside what is
    de-identified goes a report. Returns the facts of what was written, ready for JSON. Raises InputError,
    WeightsError, OutputError, NotClean, and Cancelled within one batch of `cancel()` turning true; nothing
    half-written is left behind.
    """
    from echoq_models.cine import read

    check_output(source, output, options)
    check_methods(panes_of(options))
    progress(0, 0, "reading")
    loop = read(source, progress=reading(progress, cancel))
    options, warnings = _with_stored_regions(source, output, options)
    done = _denoise(loop, source, output, options, progress, cancel)
    return {**done, "warnings": [*done["warnings"], *warnings]}


def _with_stored_regions(source: Path, output: Path, options: ExportOptions) -> tuple[ExportOptions, list[str]]:
    """The options with the regions that lie beside `source`, where a .dcm is written; what is wrong with them."""
    from echoq_models import regions

    stored = regions.sidecar(source)
    if output.suffix.lower() != DICOM or options.regions is not None or not stored.is_file():
        return options, []
    try:
        return replace(options, regions=regions.to_data(regions.load(stored))), []
    except InputError as error:
        return options, [str(error)]


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
    cleaning = cleaning_of(loop, options)
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
    written = _write(loop, output, options, streams, facts, cleaning, progress, cancel)
    seconds = time.monotonic() - started
    return {
        "input": str(source),
        "kind": loop.kind,
        **written,
        "methods": facts,
        "seconds": round(seconds, 3),
        "frames_per_second": round(len(loop) / seconds, 2),
        "warnings": [*loop.warnings, *written["warnings"]],
    }


def export_loop(
    loop: CineLoop,
    output: Path,
    options: ExportOptions,
    frames_of: Callable[[str], LoopFrames],
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
    cleaning = cleaning_of(loop, options)
    streams: list[Frames] = []
    for name in panes_of(options):
        frames = loop.frames if name == ORIGINAL else frames_of(name)
        if len(frames) != len(loop):
            raise OutputError(f"{output}: {name} has {len(frames)} of {len(loop)} frames; wait until it is done")
        streams.append(iter(frames))
    written = _write(loop, output, options, streams, facts or {}, cleaning, progress, cancel)
    return {
        "input": str(loop.source or ""),
        "kind": loop.kind,
        **written,
        "seconds": round(time.monotonic() - started, 3),
    }


def cleaning_of(loop: CineLoop, options: ExportOptions) -> Cleaning | None:
    """What takes out what names the patient, None where that is not asked for. Raises InputError, NotClean."""
    return Cleaning(loop, keep_unjudged=options.keep_unjudged) if options.deidentify else None


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
    cleaning: Cleaning | None,
    progress: Progress,
    cancel: Cancel,
) -> dict[str, Any]:
    """Stream the panes into `output`; the writer names a whole file and drops an unfinished one."""
    from echoq_models.cine.writer import EXACT, open_writer

    names = panes_of(options)
    caption = caption_of(loop, options)
    canvas = Canvas([title_of(name) for name in names], loop.size, caption) if options.side_by_side else None
    grey = canvas is None and (output.suffix.lower() == ".npz" or (loop.colour is None and loop.tint is None))
    total = len(loop)
    done = 0
    dicom = _Dicom(loop, output, options, facts, cleaning) if output.suffix.lower() == DICOM else None
    with open_writer(
        output,
        canvas.size if canvas else loop.size,
        loop.times_ms,
        options=_write_options(loop, options, facts, canvas is not None),
        free=None if canvas or output.suffix.lower() in EXACT else _free(loop),
        header=dicom.header if dicom else None,
    ) as writer:
        for frames in zip(*streams, strict=False):  # a stream ends early only when cancelled: checked below
            if cancel():
                break
            panes = [frame if grey else loop.rgb(done, frame) for frame in frames]
            if cleaning:
                panes = [cleaning.blank(pane) for pane in panes]
            writer.add(canvas.draw(panes) if canvas else panes[0])
            if dicom:
                dicom.measure(done, frames[0])
            done += 1
            progress(done, total, f"writing {output.name}")
        if done < total:
            raise Cancelled(f"Cancelled after {done} of {total} frames; {output.name} was not written.")
    beside: dict[str, Any] = {"output": str(output), "warnings": [], **(dicom.finish() if dicom else {})}
    if cleaning:
        beside |= cleaning.finish(output)
    return {**beside, "frames": total, "height": loop.size[0], "width": loop.size[1]}


class _Dicom:
    """What a .dcm needs beside its frames: the header before them, the sidecar after them."""

    def __init__(
        self, loop: CineLoop, output: Path, options: ExportOptions, facts: Facts, cleaning: Cleaning | None
    ) -> None:
        from echoq_models.cine.dicom_derive import derived_header

        loop = with_header(loop)
        self._output = output
        self._provenance = provenance(options.method, facts.get(options.method, {}), loop.simulated)
        self.header = derived_header(loop, self._provenance)
        regions = _regions_of(options, output)
        if cleaning:
            self.header = cleaning.header(self.header)
        if cleaning and regions:
            loop, regions, self._provenance = cleaning.beside(regions, self._provenance)
        self._sidecar = Sidecar(loop, regions, options.method) if regions else None

    def measure(self, t: int, frame: NDArray[np.uint8]) -> None:
        """Take note of frame `t` as it is written, luminance uint8 (H, W)."""
        if self._sidecar is not None:
            self._sidecar.add(t, frame)

    def finish(self) -> dict[str, str]:
        """Write the sidecar; one of an earlier export must not stay and speak of this one. Raises OutputError."""
        path = sidecar_path(self._output)
        if self._sidecar is None:
            path.unlink(missing_ok=True)
            return {}
        self._sidecar.write(path, self._provenance)
        return {"sidecar": str(path)}


def _regions_of(options: ExportOptions, output: Path) -> Regions | None:
    from echoq_models.regions import from_data

    return None if options.regions is None else from_data(options.regions, output)


def provenance(method: str, facts: Mapping[str, Any], simulated: str = "") -> Provenance:
    """What was done to the pixels, for headers and sidecars. facts: see `Prepared.facts`.  simulated: the loop's."""
    from echoq_models.cine.dicom_derive import UNCHANGED, Provenance

    if method == ORIGINAL:
        return Provenance(simulated) if simulated else UNCHANGED
    by = f"model {method}" if "sha256" in facts else method
    denoised = f"denoised by {by}, research use"
    return Provenance(f"{simulated}; {denoised}" if simulated else denoised, facts)


def caption_of(loop: CineLoop, options: ExportOptions) -> str:
    """What the picture says of itself: denoised, with simulated noise, or both."""
    if not loop.simulated:
        return CAPTION
    return BOTH if any(name != ORIGINAL for name in panes_of(options)) else SIMULATED


def _write_options(loop: CineLoop, options: ExportOptions, facts: Facts, drawn: bool) -> WriteOptions:
    """Captioned for research use wherever something is denoised or simulated; `drawn`: the picture says so already."""
    from echoq_models import __version__
    from echoq_models.cine.writer import WriteOptions

    methods = [name for name in panes_of(options) if name != ORIGINAL]
    if not methods and not loop.simulated:
        return WriteOptions(lossless=options.lossless, dicom_encoding=options.dicom_encoding)
    caption, spelled = caption_of(loop, options), [_spelled(name, facts.get(name, {})) for name in methods]
    return WriteOptions(
        lossless=options.lossless,
        caption=None if drawn else caption,
        title=f"{caption}: {', '.join(methods)}" if methods else caption,
        comment=", ".join(filter(None, (caption, f"EchoQ {__version__}", loop.simulated, *spelled))),
        dicom_encoding=options.dicom_encoding,
    )


def _spelled(method: str, facts: Mapping[str, Any]) -> str:
    """ "bm3d sigma 14.2": a method and the noise level that it was given, in grey levels."""
    return f"{method} sigma {facts['sigma']:g}" if facts.get("sigma") is not None else method


def _free(loop: CineLoop) -> NDArray[np.bool_]:
    """Pixels (H, W) outside the sector that are black in every frame: a caption hides nothing there."""
    from echoq_models.cine import sector
    from echoq_models.cine.writer import black_pixels

    return ~sector.fit(loop).mask & black_pixels(loop, loop.frames)
