"""What became of each loop of a batch: a table (CSV) and a page (HTML) with a picture before and after.

Both are written loop by loop from the manifest, so that memory does not grow with the batch. They name files and
hold nothing of a header; the pictures show what the loops show, so small that burned-in text is hardly legible.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from echoq_models.errors import OutputError
from echoq_models.files import replacing, write_csv
from echoq_models.runtime.export import ORIGINAL
from echoq_models.runtime.manifest import Manifest, Row

HEAD = ("file", "state", "output", "frames", "seconds")
TAIL = ("reason", "input_sha256", "output_sha256")

_STYLE = """
body { margin: 2em auto; max-width: 76em; padding: 0 1em; background: #16191d; color: #dfe3e8;
  font: 15px/1.45 system-ui, sans-serif }
h1 { font-size: 1.4em; margin-bottom: .2em } p { margin: .2em 0 }
.use { color: #e8b04b } .muted, td.muted { color: #98a2ae }
table { border-collapse: collapse; width: 100%; margin-top: 1.5em }
th { text-align: left; color: #98a2ae; font-weight: normal } th, td { padding: .4em .6em; vertical-align: top }
tr { border-top: 1px solid #30363e } td { overflow-wrap: anywhere }
img { display: block; width: 192px; background: #000 } .number { text-align: right }
.done { color: #6cc08b } .failed { color: #ef6f6c } .skipped, .waiting { color: #98a2ae }
"""


def write_table(path: Path, manifest: Manifest, panes: Sequence[str]) -> None:
    """One line for each loop of the plan. panes: the methods that were written. Raises OutputError, BatchStopped."""
    write_csv(path, _rows(manifest, _measured(panes)))


def _measured(panes: Sequence[str]) -> list[str]:
    return [ORIGINAL, *(name for name in dict.fromkeys(panes) if name != ORIGINAL)]


def _rows(manifest: Manifest, methods: Sequence[str]) -> Iterator[Sequence[object]]:
    yield [*HEAD, *(f"gcnr_{name}" for name in methods), *TAIL]
    for row in manifest.rows():
        done = row.state == "done"
        gcnr = row.figures.get("gcnr", {}) if done else {}
        facts = [
            row.output if row.state in ("done", "skipped") else "",
            *((row.frames, row.seconds) if done else ("", "")),
        ]
        sums = (row.input_sha256, row.output_sha256) if done else (None, None)
        yield [row.file, state_of(row), *facts, *(gcnr.get(name) for name in methods), reason_of(row), *sums]


def state_of(row: Row) -> str:
    """ "done", "failed", "skipped" or "waiting" (not begun, or broken off)."""
    return row.state if row.state in ("done", "failed", "skipped") else "waiting"


def reason_of(row: Row) -> str:
    """Why a loop failed or was skipped, or why a done one was not measured."""
    note = row.figures.get("gcnr_note") if row.state == "done" else None
    return f"gCNR was not measured: {note}" if note else row.reason or ""


def write_page(path: Path, manifest: Manifest, panes: Sequence[str]) -> None:
    """The same as a page that needs no other file. Raises OutputError, BatchStopped."""
    try:
        with replacing(path) as new, new.open("w", encoding="utf-8") as file:
            for part in _page(manifest, _measured(panes)):
                file.write(part)
    except OSError as error:
        raise OutputError(f"{path}: the page cannot be written ({error.strerror or error})") from error


def _page(manifest: Manifest, methods: Sequence[str]) -> Iterator[str]:
    counts = Counter(map(state_of, manifest.rows()))
    failed = [row for row in manifest.rows() if row.state == "failed"]
    words = ", ".join(f"{counts[state]} {state}" for state in ("done", "failed", "skipped", "waiting") if counts[state])
    made = next((row for row in manifest.rows() if row.state == "done"), None)
    yield "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>EchoQ batch</title>"
    yield f"<style>{_STYLE}</style></head><body>\n<h1>Denoised loops</h1>\n"
    yield f"<p>{counts.total()} loops: {words}</p>\n"
    yield "<p class='use'>Research use only. Not for diagnosis.</p>\n"
    if made is not None:
        yield f"<p class='muted'>EchoQ {escape(made.version or '')}: {escape(_spelled(made))}</p>\n"
    for row in failed:
        yield f"<p><span class='failed'>failed</span> {escape(row.file)}: {escape(_bare_reason(row))}</p>\n"
    titles = ["Loop", "Before", "After", "State", "Frames", *(f"gCNR {name}" for name in methods)]
    yield f"<table><tr>{''.join(f'<th>{escape(title)}</th>' for title in titles)}</tr>\n"
    for row in manifest.rows():
        yield _line(row, manifest.thumbnails(row.output) if row.state == "done" else None, methods)
    yield "</table></body></html>\n"


def _line(row: Row, pictures: tuple[bytes, bytes] | None, methods: Sequence[str]) -> str:
    shown = ("", "") if pictures is None else tuple(map(_image, pictures))
    gcnr = row.figures.get("gcnr", {}) if row.state == "done" else {}
    state = state_of(row)
    reason = f"<br><span class='muted'>{escape(_bare_reason(row))}</span>" if reason_of(row) else ""
    frames = row.frames if row.state == "done" else ""
    output = f"<br><span class='muted'>{escape(row.output)}</span>" if row.state in ("done", "skipped") else ""
    figures = "".join(
        f"<td class='number'>{'' if gcnr.get(name) is None else format(gcnr[name], '.3f')}</td>" for name in methods
    )
    return (
        f"<tr><td>{escape(row.file)}{output}</td>"
        f"<td>{shown[0]}</td><td>{shown[1]}</td>"
        f"<td><span class='{state}'>{state}</span>{reason}</td><td class='number'>{frames}</td>{figures}</tr>\n"
    )


def _bare_reason(row: Row) -> str:
    """The reason without the file's name, which stands beside it."""
    return reason_of(row).removeprefix(f"{row.file}: ")


def _image(content: bytes) -> str:
    return f"<img loading='lazy' alt='' src='data:image/jpeg;base64,{b64encode(content).decode()}'>"


def _spelled(row: Row) -> str:
    """The settings as a person reads them: "method fast, strength 1.0, ..."; with the first digits of checksums."""
    settings = {
        key: each for key, each in json.loads(row.settings or "{}").items() if each not in (None, False, "", [])
    }
    words = [f"{key} {', '.join(each) if isinstance(each, list) else each}" for key, each in settings.items()]
    words += [f"weights of {name} {sha256[:12]}" for name, sha256 in json.loads(row.weights or "{}").items()]
    return ", ".join(words).replace("_", " ")
