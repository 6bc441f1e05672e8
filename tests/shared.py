"""Names that tests of several rooms import."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Echoq = Callable[..., subprocess.CompletedProcess[str]]
