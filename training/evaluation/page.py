"""The report as one HTML page that needs nothing beside it: tables, and the figures embedded."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from echoq_models.files import replacing

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; }
p { max-width: 56rem; } nav a { margin-right: 1rem; } a { color: #2a5d8f; }
.note { background: #fff6e0; border-left: 4px solid #e0a72c; padding: .6rem 1rem; max-width: 54rem; }
table { border-collapse: collapse; margin: .8rem 0 1.2rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #e3e3e3; vertical-align: top; }
th { font-weight: 600; border-bottom: 1px solid #999; } caption { text-align: left; color: #555; }
.yes { color: #1b7d3c; } .no { color: #b3261e; font-weight: 700; }
figure { margin: 1rem 0 1.6rem; } figure img { max-width: 100%; height: auto; } figcaption { color: #555; }
.scroll { overflow-x: auto; }
"""


@dataclass(frozen=True)
class Table:
    """Cells are text and are escaped; "yes" and "NO" are coloured."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def html(self) -> str:
        """The table."""
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.head)
        body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>\n" for row in self.rows)
        return f'<div class="scroll"><table>{caption}<tr>{head}</tr>\n{body}</table></div>\n'


def _cell(text: str) -> str:
    kind = {"yes": ' class="yes"', "NO": ' class="no"'}.get(text, "")
    return f"<td{kind}>{escape(text)}</td>"


@dataclass(frozen=True)
class Section:
    """key: its anchor.  text: paragraphs.  pictures: (PNG file, caption)."""

    key: str
    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[tuple[Path, str]] = ()

    def html(self) -> str:
        """Heading, paragraphs, tables, figures."""
        parts = [f'<h2 id="{escape(self.key)}">{escape(self.title)}</h2>\n']
        parts += [f"<p>{escape(paragraph)}</p>\n" for paragraph in self.text]
        parts += [table.html() for table in self.tables]
        parts += [_figure(path, caption) for path, caption in self.pictures]
        return "".join(parts)


def _figure(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    alt = escape(caption, quote=True)
    image = f'<img alt="{alt}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>\n"


def write_page(path: Path, title: str, subtitle: str, note: str, sections: Sequence[Section]) -> None:
    """Write the page: title, what was run, a warning, links to the sections, the sections."""
    links = "".join(f'<a href="#{escape(s.key)}">{escape(s.title)}</a> ' for s in sections)
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n"
        f'<h1>{escape(title)}</h1>\n<p>{escape(subtitle)}</p>\n<p class="note">{escape(note)}</p>\n<nav>{links}</nav>\n'
        + "".join(section.html() for section in sections)
        + "</body></html>\n"
    )
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")
