"""The script that a frozen EchoQ starts with: it sorts out the program's own child processes first."""

from __future__ import annotations

import multiprocessing
import os
import sys


def give_back_library_path() -> None:
    """Undo PyInstaller's LD_LIBRARY_PATH: a file manager or ffmpeg started from here needs the system's libraries.

    This process has read it already; children of our own are told to set it anew.
    """
    os.environ["PYINSTALLER_RESET_ENVIRONMENT"] = "1"
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    if before is None:
        os.environ.pop("LD_LIBRARY_PATH", None)
    else:
        os.environ["LD_LIBRARY_PATH"] = before


if __name__ == "__main__":
    if getattr(sys, "frozen", False) and sys.platform.startswith("linux"):
        give_back_library_path()
    multiprocessing.freeze_support()  # a spawned worker ends in here and never comes to the command line
    if sys.argv[1:2] == ["--decode-frames"]:  # echoq_models.cine.isolated asks so
        from echoq_models.cine import isolated_main

        del sys.argv[1]
        isolated_main.main()
    else:
        from echoq_desktop.cli import main

        sys.exit(main())
