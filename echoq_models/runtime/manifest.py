"""The manifest of a batch: what became of each loop, kept in SQLite beside the results.

It is also the lock: a run holds the database to itself, and the system lets go when the process ends, however it does.
Every change is on the disk before the next step is taken, so that a run which died anywhere can be taken up again.

A row in state "running" was in work when its run died. "finishing" was written whole and was about to get its name:
the checksum decides whether it has it. A row that was ever `made` tells that the output is ours.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from echoq_models.errors import OutputError
from echoq_models.files import Stamp
from echoq_models.runtime.batch_types import BatchStopped

NAME = "echoq-batch.sqlite"
VERSION = 1
RACY_NS = 2_000_000_000  # a file changed so shortly before it was read may change again within the clock's step

_SCHEMA = """
CREATE TABLE IF NOT EXISTS loops (
  output TEXT PRIMARY KEY,  -- relative to this folder
  file TEXT NOT NULL,       -- relative to the input folder
  number INTEGER,           -- place in the latest run's plan, NULL when it is not in it
  state TEXT NOT NULL,      -- waiting, running, finishing, done, failed, skipped
  reason TEXT,
  input_sha256 TEXT, regions_sha256 TEXT, settings TEXT, weights TEXT, version TEXT,
  output_sha256 TEXT, output_stamp TEXT, output_bytes INTEGER,
  frames INTEGER, seconds REAL, figures TEXT,
  made INTEGER NOT NULL DEFAULT 0,  -- how often a result got its name
  changed TEXT
);
CREATE INDEX IF NOT EXISTS by_number ON loops (number);
CREATE TABLE IF NOT EXISTS inputs (file TEXT PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS thumbnails (output TEXT PRIMARY KEY, before BLOB, after BLOB);
"""


@dataclass(frozen=True)
class Recipe:
    """What a result is made with, besides loop and regions: JSON texts, and EchoQ's version."""

    settings: str
    weights: str
    version: str

    def weights_of(self, method: str) -> tuple[str, ...]:
        """The checksum of a method's weights, nothing for a method without."""
        found = json.loads(self.weights).get(method)
        return () if found is None else (str(found),)


@dataclass(frozen=True)
class Row:
    """One loop of the manifest, see the table `loops`. figures: "gcnr" by method, or "gcnr_note"."""

    output: str
    file: str
    number: int | None
    state: str
    reason: str | None
    input_sha256: str | None
    regions_sha256: str | None
    settings: str | None
    weights: str | None
    version: str | None
    output_sha256: str | None
    output_stamp: str | None
    output_bytes: int | None
    frames: int | None
    seconds: float | None
    made: int
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether an output of that name was written by a batch."""
        return self.made > 0 or self.state == "finishing"

    def is_result(self, recipe: Recipe, input_sha256: str, regions_sha256: str) -> bool:
        """Whether it holds the result of just this, provided that the output is there and unaltered."""
        return self.state in ("done", "finishing") and (
            (self.input_sha256, self.regions_sha256, self.settings, self.weights, self.version)
            == (input_sha256, regions_sha256, recipe.settings, recipe.weights, recipe.version)
        )


class Manifest:
    """The manifest in a folder, held by this process until `close`. May be used by several threads.

    note: a sentence when a damaged one was set aside.  Raises OutputError when it cannot be opened or another run
    holds it, BatchStopped when a later change cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.note: str | None = None
        self._lock = threading.RLock()
        try:
            self._data = _open(self.path)
        except sqlite3.DatabaseError as error:
            if not _is_damaged(error):
                raise OutputError(_complaint(self.path, error)) from error
            aside = _set_aside(self.path)
            self.note = f"{self.path}: the list of what is done was damaged, and was set aside as {aside.name}"
            self._data = _open(self.path)

    def close(self) -> None:
        """Let go of it."""
        with suppress(sqlite3.Error):
            self._data.close()

    def plan(self, loops: Iterable[tuple[str, str]]) -> dict[str, Row]:
        """Note what this run is to do, (file, output) in order. Returns the rows, also of earlier runs, by output."""
        with self._change() as data:
            data.execute("UPDATE loops SET number = NULL")
            data.executemany(
                "INSERT INTO loops (output, file, number, state) VALUES (?, ?, ?, 'waiting') "
                "ON CONFLICT (output) DO UPDATE SET file = excluded.file, number = excluded.number",
                [(output, file, number) for number, (file, output) in enumerate(loops)],
            )
        return {row.output: row for row in self.rows()}

    def rows(self) -> Iterator[Row]:
        """The loops of this run's plan, in order; read one by one."""
        last = -1
        while (found := self._one("SELECT * FROM loops WHERE number > ? ORDER BY number LIMIT 1", last)) is not None:
            last = found["number"]
            values = {key: found[key] for key in found.keys() if key != "changed"}  # noqa: SIM118  # of sqlite3.Row
            yield Row(**{**values, "figures": json.loads(found["figures"] or "{}")})

    def input_checksum(self, file: str, stamp: Stamp) -> str | None:
        """The checksum of an input that has not changed since it was taken, else None."""
        found = self._one("SELECT sha256 FROM inputs WHERE file = ? AND stamp = ?", file, stamp.text)
        return None if found is None else str(found["sha256"])

    def keep_input(self, file: str, stamp: Stamp, sha256: str, now_ns: int) -> None:
        """Remember an input's checksum, unless it is so new that its times may not tell the next change."""
        if now_ns - stamp.newest_ns > RACY_NS:
            self._do("INSERT OR REPLACE INTO inputs VALUES (?, ?, ?)", file, stamp.text, sha256)

    def begin(self, output: str) -> None:
        """A loop is in work."""
        self._set(output, state="running", reason=None)

    def finishing(
        self,
        output: str,
        recipe: Recipe,
        inputs: tuple[str, str],
        result: Mapping[str, Any],
        figures: Mapping[str, Any],
        thumbnails: tuple[bytes, bytes],
    ) -> None:
        """A result is whole and about to get its name. inputs: checksums of loop and regions.

        result: "output_sha256", "output_bytes", "frames", "seconds".  thumbnails: small JPEG files for the page,
        before and after.
        """
        made_with = dict(zip(("input_sha256", "regions_sha256"), inputs, strict=True)) | asdict(recipe)
        with self._change() as data:
            self._set(output, state="finishing", figures=json.dumps(figures), **made_with, **result)
            data.execute("INSERT OR REPLACE INTO thumbnails VALUES (?, ?, ?)", (output, *thumbnails))

    def done(self, output: str, stamp: Stamp, *, made: bool = True) -> None:
        """A result has its name. made: whether it got it now, or was found again."""
        with self._change() as data:
            data.execute(
                "UPDATE loops SET state = 'done', reason = NULL, output_stamp = ?, made = made + ?, changed = ? "
                "WHERE output = ?",
                (stamp.text, int(made), _now(), output),
            )

    def settle(self, output: str, state: str, reason: str | None = None) -> None:
        """A loop failed, was skipped, or waits again."""
        self._set(output, state=state, reason=reason)

    def thumbnails(self, output: str) -> tuple[bytes, bytes] | None:
        """The two pictures of a loop, if there are any."""
        found = self._one("SELECT before, after FROM thumbnails WHERE output = ?", output)
        return None if found is None else (found["before"], found["after"])

    def _set(self, output: str, **values: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in (*values, "changed"))
        self._do(f"UPDATE loops SET {names} WHERE output = ?", *values.values(), _now(), output)

    def _do(self, statement: str, *values: Any) -> None:
        with self._guard() as data:
            data.execute(statement, values)  # a transaction of its own, or part of the one under way

    def _one(self, statement: str, *values: Any) -> sqlite3.Row | None:
        with self._guard() as data:
            found: sqlite3.Row | None = data.execute(statement, values).fetchone()
            return found

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk when the block ends."""
        with self._guard() as data:
            data.execute("BEGIN")
            try:
                yield data
                data.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    data.execute("ROLLBACK")
                raise

    @contextmanager
    def _guard(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._data
            except sqlite3.Error as error:
                raise BatchStopped(_complaint(self.path, error)) from error


def _open(path: Path) -> sqlite3.Connection:
    """The database, whole and held. Raises sqlite3.DatabaseError, OutputError."""
    data = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
    try:
        data.row_factory = sqlite3.Row
        data.execute("PRAGMA locking_mode = EXCLUSIVE")
        data.execute("PRAGMA synchronous = EXTRA")  # a change outlives a power cut
        data.execute("BEGIN EXCLUSIVE")
        data.execute("COMMIT")
        if data.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("malformed")
        version = data.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise OutputError(f"{path}: made by a newer EchoQ: update EchoQ, or choose another folder to write into")
        data.executescript(_SCHEMA)
        data.execute(f"PRAGMA user_version = {VERSION}")
        data.execute("SELECT number, made FROM loops LIMIT 1")
    except BaseException:
        data.close()
        raise
    return data


def _is_damaged(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # none where we raised it ourselves
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def _complaint(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{path.parent}: another batch is writing into this folder; wait for it, or choose another folder"
    if code == sqlite3.SQLITE_FULL:
        return f"{path.parent}: the disk is full; make room and run the batch again: it goes on where it stopped"
    return f"{path}: the list of what is done cannot be written ({error})"


def _set_aside(path: Path) -> Path:
    """Rename a damaged database and its journal, which must not be applied to the next. Raises OutputError."""
    numbers = (path.with_name(f"{path.stem}-damaged-{number}{path.suffix}") for number in range(1, 10_000))
    aside = next(each for each in numbers if not each.exists())
    try:
        path.replace(aside)
        journal = path.with_name(f"{path.name}-journal")
        if journal.exists():
            journal.replace(aside.with_name(f"{aside.name}-journal"))
    except OSError as error:
        raise OutputError(f"{path}: damaged, and cannot be set aside ({error.strerror})") from error
    return aside


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
