"""The scripts in installer/, which are no package."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

import pytest

from tests.shared import ROOT


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a script by name as `make installer` does."""
    monkeypatch.syspath_prepend(str(ROOT / "installer" / "linux"))
    monkeypatch.syspath_prepend(str(ROOT / "installer"))
    return importlib.import_module
