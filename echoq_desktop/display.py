"""Whether a window can be shown here. The question is put to a process of its own: Qt aborts when it cannot."""

from __future__ import annotations

import multiprocessing
import os
import sys

OFFSCREEN = ("offscreen", "minimal", "minimalegl", "vnc")
NO_LIBRARY = 4


def missing(timeout_s: float = 20.0) -> str | None:
    """None when a window can be shown, else why not in a few words. Never imports Qt into this process."""
    platform = os.environ.get("QT_QPA_PLATFORM", "").split(":")[0]
    if platform in OFFSCREEN:
        return f"Qt's platform is set to {platform}"
    unix = sys.platform not in ("win32", "darwin", "cygwin")
    if unix and not platform and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    probe = multiprocessing.get_context("spawn").Process(target=_probe, daemon=True)
    probe.start()
    probe.join(timeout_s)
    if probe.is_alive():
        probe.kill()
        probe.join()
        return "the display does not answer"
    if probe.exitcode == NO_LIBRARY:
        return "a system library that Qt needs is missing (installer/system_libs.py or README.txt names it)"
    return None if probe.exitcode == 0 else "the display cannot be opened"


def _probe() -> None:
    """Open Qt on the display and leave; its complaints are not for the person, our sentence is."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    try:
        from PySide6.QtGui import QGuiApplication
    except ImportError:
        os._exit(NO_LIBRARY)
    app = QGuiApplication([])
    os._exit(0 if app.primaryScreen() is not None else 1)
