"""One run of a batch: a thread reads ahead, this one denoises, a third writes; the manifest knows where each loop is.

Only the thread that called runs denoisers, looks at the cancel token and judges what went wrong: the worker lets the
window's other work in there. A loop's result is written into a hidden folder, and gets its name once it is whole, on
the disk, and its checksum in the manifest. So a run that dies at any moment leaves whole files, and the next one knows
each of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Prepared
from echoq_models.errors import Cancelled, EchoQError, InputError, WeightsError
from echoq_models.files import Stamp, checksum, stamp
from echoq_models.regions.files import sidecar
from echoq_models.runtime.batch_channel import Channel, Slots, Timed, join, wait_for
from echoq_models.runtime.batch_clock import Clock
from echoq_models.runtime.batch_item import Item, check_place, lost_ground, regions_checksum
from echoq_models.runtime.batch_types import (
    DONE_ALREADY,
    EXISTS,
    BatchEvent,
    BatchOptions,
    BatchStopped,
    State,
    failure,
)
from echoq_models.runtime.batch_write import write
from echoq_models.runtime.batching import device_is_lost
from echoq_models.runtime.device import STACK_BYTES
from echoq_models.runtime.export import ORIGINAL, check_output, panes_of
from echoq_models.runtime.manifest import Manifest, Recipe, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Run:
    """Works through the plan; `events` are the last ones of the loops that came to an end, in the plan's order."""

    def __init__(
        self,
        folder: Path,
        output: Path,
        options: BatchOptions,
        recipe: Recipe,
        manifest: Manifest,
        parts: Path,
        progress: Callable[[BatchEvent], None],
        cancel: Cancel,
    ) -> None:
        """parts: a folder, for this run alone, in which files are made before they get their names."""
        self.cancelled = False
        self.stopped: BatchStopped | None = None
        self._folder, self._output, self._options = folder, output, options
        self._recipe, self._manifest, self._parts = recipe, manifest, parts
        self._progress = progress
        self._clock = Clock()
        self._cancel = Timed(cancel, self._clock.waited)
        self._total = 0
        self._ends: dict[int, BatchEvent] = {}
        self._in_work: dict[int, Item] = {}
        self._telling = threading.Lock()  # of progress and clock
        self._halt = threading.Event()
        self._slots = Slots()
        self._loaded: SimpleQueue[tuple[Item, Exception | None] | None] = SimpleQueue()
        self._to_write: SimpleQueue[Item | None] = SimpleQueue()
        self._written: SimpleQueue[tuple[Item, Exception | None]] = SimpleQueue()

    @property
    def events(self) -> tuple[BatchEvent, ...]:
        """The last event of each loop that came to an end, in the plan's order."""
        return tuple(self._ends[number] for number in sorted(self._ends))

    def run(self, jobs: Sequence[tuple[Path, Path]]) -> None:
        """Do (source, target) of each; `cancelled` or `stopped` tells why not all were done."""
        try:
            self._work(self._sort_out(jobs))
        except Cancelled:
            self.cancelled = True
        except BatchStopped as error:
            self.stopped = self._ground(error) or error

    # before any work

    def _sort_out(self, jobs: Sequence[tuple[Path, Path]]) -> list[Item]:
        """Put aside what is done or left out, as far as that can be told without reading a loop."""
        self._total = len(jobs)
        named = [
            (source.relative_to(self._folder).as_posix(), target.relative_to(self._output).as_posix())
            for source, target in jobs
        ]
        rows = self._manifest.plan(named)
        reasons = dict(self._options.leave_out)
        todo: list[Item] = []
        ended: list[tuple[Item, State, str, int]] = []
        for number, ((source, target), (file, output)) in enumerate(zip(jobs, named, strict=True)):
            if self._cancel():
                raise Cancelled("Cancelled.")
            item = self._item(number, source, target, file, output, rows[output])
            if (reason := reasons.get(file)) is not None:
                ended.append((item, "failed", reason, 5))
            elif not item.row.ours and self._options.existing == "skip" and target.exists():
                ended.append((item, "skipped", EXISTS, 0))
            elif self._seems_done(item):
                ended.append((item, "skipped", DONE_ALREADY, 0))
            else:
                todo.append(item)
                self._clock.add(number, source.suffix.lower(), item.stamp.size)
        for end in ended:  # after all were counted, so that the time left is not that of half of them
            self._end(*end)
        return todo

    def _item(self, number: int, source: Path, target: Path, file: str, output: str, row: Row) -> Item:
        settings = self._options.settings
        if file in self._options.alone:
            settings = replace(settings, device="cpu")
        alone = file in self._options.alone or row.state == "running"
        try:
            found = stamp(source)
        except OSError:
            found = Stamp()  # reading it will say what is wrong
        regions = sidecar(source)
        return Item(
            number, source, target, file, output, row, alone, settings, found, regions if regions.is_file() else None
        )

    def _seems_done(self, item: Item) -> bool:
        """Whether times and sizes say that the result is there and everything is as it was."""
        known = self._manifest.input_checksum(item.file, item.stamp)
        if (
            known is None
            or item.row.state != "done"
            or not item.row.is_result(self._recipe, known, regions_checksum(item))
        ):
            return False
        try:
            return stamp(item.target).text == item.row.output_stamp
        except OSError:
            return False

    # the thread that called

    def _work(self, todo: Sequence[Item]) -> None:
        threading.stack_size(max(threading.stack_size(), STACK_BYTES))
        reader = threading.Thread(target=self._read_all, args=(todo,), name="batch-reader", daemon=True)
        writer = threading.Thread(target=self._write_all, name="batch-writer", daemon=True)
        reader.start()
        writer.start()
        try:
            while (came := wait_for(self._loaded, self._look)) is not None:
                self._take(*came)
                del came  # nothing here holds on to a loop while the next one is waited for
            self._to_write.put(None)
            join(writer, self._look)
        finally:
            self._halt.set()
            self._to_write.put(None)
            writer.join()
            reader.join()
            self._wind_up()

    def _look(self) -> None:
        """Between two pieces of work: is it cancelled, what has ended? Raises Cancelled, BatchStopped."""
        if self._cancel():
            raise Cancelled("Cancelled.")
        while (ended := self._next_ended()) is not None:
            self._judge(*ended)

    def _next_ended(self) -> tuple[Item, Exception | None] | None:
        try:
            return self._written.get_nowait()
        except Empty:
            return None

    def _take(self, item: Item, error: Exception | None) -> None:
        """A loop has come from the reader."""
        if error is not None or item.already:
            self._judge(item, error)
            return
        assert item.loop is not None
        with self._telling:
            self._clock.read(item.number, len(item.loop))
            self._clock.start()
        try:
            prepared = self._prepare(item, item.loop)
        except Exception as failed:
            self._judge(item, failed)
            return
        facts = {name: each.facts for name, each in prepared.items()}
        channel = item.channel = Channel(list(prepared), len(item.loop), facts)
        self._to_write.put(item)
        try:
            self._feed(item, item.loop, channel, prepared)
        except (Cancelled, BatchStopped):
            channel.fail(Cancelled("Cancelled."))
            raise
        except Exception as failed:
            channel.fail(failed)
            if device_is_lost(failed):
                raise
        except BaseException:
            channel.fail(Cancelled("Cancelled."))
            raise

    def _prepare(self, item: Item, loop: CineLoop) -> dict[str, Prepared]:
        from echoq_models.denoise import registry

        methods = [name for name in panes_of(self._options.export()) if name != ORIGINAL]
        prepared = {name: registry.get(name).prepare(loop, item.settings) for name in methods}
        for name, each in prepared.items():
            if str(each.facts.get("sha256", "")) not in ("", *self._recipe.weights_of(name)):
                raise WeightsError(f"{item.source.name}: the weights of {name} were changed during the batch")
        return prepared

    def _feed(self, item: Item, loop: CineLoop, channel: Channel, prepared: Mapping[str, Prepared]) -> None:
        """Denoise frame by frame; the methods of a side-by-side picture take turns."""
        from echoq_models.denoise import registry

        order = range(len(loop))
        running = {name: registry.get(name).run(loop, each, order, self._cancel) for name, each in prepared.items()}
        for _ in order:
            self._look()
            for name, frames in running.items():
                frame = self._next_frame(name, frames)
                if not channel.put(name, frame, self._look):
                    return
            item.denoised += 1
            with self._telling:
                self._clock.step(item.number)
            self._tell(item)

    def _next_frame(self, name: str, frames: Iterator[tuple[int, NDArray[Any]]]) -> NDArray[Any]:
        found = next(frames, None)
        if found is None:
            self._look()
            raise EchoQError(f"The method {name} gave back fewer frames than it was given.")
        return found[1]

    def _judge(self, item: Item, error: Exception | None) -> None:
        """A loop has come to its end: well, badly, or so that no other can do better."""
        if error is None:
            item.loop = item.channel = None
            if item.already:
                self._end(item, "skipped", DONE_ALREADY)
            else:
                self._end(item, "done")
            return
        if isinstance(error, Cancelled) or self._cancel():  # Ctrl-C reaches ffmpeg too
            raise Cancelled("Cancelled.")
        if (stopped := self._ground(error)) is not None:
            raise stopped from (None if stopped is error else error)
        if device_is_lost(error):
            raise error
        _, reason, code = failure(item.source.name, error)
        reason = (reason or "").replace(str(item.source), item.file)
        item.loop = item.channel = None
        self._end(item, "failed", reason, code)

    def _ground(self, error: Exception) -> BatchStopped | None:
        return lost_ground(error, self._folder, self._output, self._parts)

    def _end(self, item: Item, state: State, reason: str | None = None, code: int = 0) -> None:
        if state == "failed" or (state == "skipped" and reason != DONE_ALREADY):
            self._manifest.settle(item.output, state, reason)
        if self._in_work.pop(item.number, None) is not None:
            self._slots.leave(alone=item.alone)
        with self._telling:
            self._clock.end(item.number)
        self._ends[item.number] = self._tell(item, state, reason, code)

    def _wind_up(self) -> None:
        """After all threads ended: what was finished counts, what was in work waits."""
        while (ended := self._next_ended()) is not None:
            if ended[1] is None:
                self._judge(*ended)
        for item in self._in_work.values():
            try:
                self._manifest.settle(item.output, "waiting")
            except BatchStopped:
                return  # the disk is full or gone: it is found in state "running", which does as well

    def _tell(self, item: Item, state: State = "running", reason: str | None = None, code: int = 0) -> BatchEvent:
        with self._telling:
            running, frames = state == "running", item.frames
            stage = "reading" if not frames else "read" if not item.denoised else "denoising"
            stage = "writing" if frames and item.denoised == frames else stage
            event = BatchEvent(
                item.file,
                item.output,
                state,
                reason,
                item.number,
                self._total,
                item.denoised,
                frames,
                round(time.monotonic() - item.begun, 3) if item.begun else 0.0,
                self._clock.left(),
                code,
                stage if running else "",
                round(self._clock.share(), 5),
            )
            self._progress(event)
            return event

    # the reader's thread

    def _read_all(self, todo: Sequence[Item]) -> None:
        for item in todo:
            if not self._slots.enter(self._halt, alone=item.alone):
                break
            self._in_work[item.number] = item
            item.begun = time.monotonic()
            try:
                self._load(item)
            except Exception as error:
                self._loaded.put((item, error))
            else:
                self._loaded.put((item, None))
        self._loaded.put(None)

    def _going(self, *_: int) -> None:
        if self._halt.is_set():
            raise Cancelled("Cancelled.")

    def _load(self, item: Item) -> None:
        """Read a loop, unless it turns out that its result is there."""
        from echoq_models.cine import read

        item.checksums = (self._input_checksum(item), regions_checksum(item))
        if self._is_done(item):
            item.already = True
            return
        self._tell(item)
        self._manifest.begin(item.output)
        check_output(item.source, item.target, self._options.export())
        check_place(item.target, self._options.suffix)
        item.loop = read(item.source, progress=self._going)
        if stamp(item.source) != item.stamp:
            raise InputError(f"{item.source}: it was changed while it was read; run the batch again for it")
        item.frames = len(item.loop)
        self._tell(item)

    def _input_checksum(self, item: Item) -> str:
        known = self._manifest.input_checksum(item.file, item.stamp)
        if known is None:
            now = time.time_ns()
            try:
                known = checksum(item.source, self._going)
            except OSError as error:
                raise InputError(f"{item.source}: cannot be read ({error.strerror or error}).") from error
            self._manifest.keep_input(item.file, item.stamp, known, now)
        return known

    def _is_done(self, item: Item) -> bool:
        """Whether the output is there and its content says that it is the result."""
        if not item.row.is_result(self._recipe, *item.checksums):
            return False
        try:
            found = stamp(item.target)
            if checksum(item.target, self._going) != item.row.output_sha256:
                return False
        except OSError:
            return False
        self._manifest.done(item.output, found, made=item.row.state == "finishing")
        return True

    # the writer's thread

    def _write_all(self) -> None:
        while (item := self._to_write.get()) is not None:
            error: Exception | None = None
            try:
                write(item, self._options, self._recipe, self._manifest, self._parts)
            except Exception as failed:
                error = failed
            if item.channel is not None:
                item.channel.close()
            self._written.put((item, error))
            del item  # nothing here holds on to a loop
