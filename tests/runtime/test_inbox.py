"""The worker's inbox never sleeps through work."""

from __future__ import annotations

from pathlib import Path

import pytest

from echoq_models.runtime.inbox import Inbox
from echoq_models.runtime.tasks import OpenJob


def test_work_that_comes_just_as_a_wait_ends_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(lambda *_, **__: None, tmp_path)
    waits: list[float | None] = []

    def wait(timeout: float | None = None) -> bool:
        """Ends by its time; the receiver takes the lock, adds work and tells nobody, since nobody waits."""
        waits.append(timeout)
        assert len(waits) == 1, "it waits again although there is work"
        inbox.take({"do": "open", "job": 7, "path": str(tmp_path / "a.npz")})
        return False

    monkeypatch.setattr(inbox._changed, "wait", wait)
    work = inbox.wait()
    assert isinstance(work, OpenJob) and work.job == 7 and waits[0] is not None
