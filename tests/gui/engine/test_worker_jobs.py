"""Who is blamed for a worker's death, and what follows."""

from __future__ import annotations

from dataclasses import asdict

from echoq_desktop.worker_jobs import Blame, Job
from echoq_models.denoise.base import Settings
from echoq_models.runtime.batch_types import DONE_ALREADY
from echoq_models.runtime.jobs import BatchOptions


def test_a_job_goes_to_the_cpu_at_the_second_death_and_ends_at_the_third() -> None:
    job = Job(1, "denoise", {"settings": asdict(Settings("cuda"))}, what="unet")
    blame = Blame()
    assert blame.job(job) is None and job.content["settings"]["device"] == "cuda"
    assert blame.job(job) is None and job.content["settings"]["device"] == "cpu"
    assert blame.job(job) == "unet: denoising stopped the worker three times, so it was given up."


def test_a_segmentation_goes_to_the_cpu_too_and_is_named_when_it_is_given_up() -> None:
    blame, job = Blame(), Job(1, "segment", {"device": "auto", "frames": None}, what="loop.dcm", loop_id=7)
    assert blame.job(job) is None and job.content["device"] == "auto"
    assert blame.job(job) is None and job.message()["device"] == "cpu"
    assert blame.job(job) == "loop.dcm: finding the left ventricle stopped the worker three times, so it was given up."


def test_a_batch_leaves_out_the_file_and_lives() -> None:
    job = Job(1, "batch", {"output": "out", "options": asdict(BatchOptions())}, what="loops")
    blame = Blame()
    options = job.content["options"]
    assert job.note_file({"file": "a.dcm", "state": "done"})
    for name in ("b.dcm", "c.dcm", "d.dcm"):
        assert job.note_file({"file": name, "state": "running"})
    assert job.note_file({"file": "d.dcm", "state": "done"})
    assert blame.job(job) is None
    assert options["alone"] == ("b.dcm", "c.dcm") and options["leave_out"] == ()
    assert not job.note_file({"file": "a.dcm", "state": "skipped"})  # an echo, not news
    found = {"file": "c.dcm", "state": "skipped", "reason": DONE_ALREADY}
    assert job.note_file(found) and found["state"] == "done"  # it was written just before the death
    assert job.note_file({"file": "b.dcm", "state": "running"})
    assert blame.job(job) is None
    assert [name for name, _ in options["leave_out"]] == ["b.dcm"]
    assert options["settings"]["device"] == "cpu"  # the second death of the job


def test_a_worker_that_dies_loading_torch_gets_the_cpu_then_no_torch() -> None:
    blame = Blame()
    states = []
    for _ in range(3):
        blame.worker(hello=True, warming=True)
        states.append((blame.cpu, blame.warm_up))
    assert states == [(False, True), (True, True), (True, False)] and not blame.hopeless


def test_workers_that_never_say_hello_are_given_up() -> None:
    blame = Blame()
    for _ in range(3):
        assert not blame.hopeless
        blame.worker(hello=False, warming=False)
    assert blame.hopeless
