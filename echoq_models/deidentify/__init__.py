"""Loops without what names a person: `clean_header` and `declare` for headers, `judge` and `blank` for pixels,
`deidentify` for files and folders."""

from echoq_models.deidentify.batch import Entry, Report, deidentify, write_report
from echoq_models.deidentify.files import Cleaned, LeftOut, Options, clean_file, reason_of
from echoq_models.deidentify.header import HeaderOptions, HeaderReport, clean_header, declare
from echoq_models.deidentify.pixels import Judgement, blank, judge
from echoq_models.deidentify.pseudonyms import Pseudonyms, load_key

__all__ = [
    "Cleaned",
    "Entry",
    "HeaderOptions",
    "HeaderReport",
    "Judgement",
    "LeftOut",
    "Options",
    "Pseudonyms",
    "Report",
    "blank",
    "clean_file",
    "clean_header",
    "declare",
    "deidentify",
    "judge",
    "load_key",
    "reason_of",
    "write_report",
]
