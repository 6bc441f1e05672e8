"""Batches keep the order, follow a changed mind and retreat when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from echoq_models.errors import EchoQError
from echoq_models.runtime.batching import BatchLimits, batch_size, in_batches, is_out_of_memory


class Memory:
    """Work that fits only `room` frames at a time and records what it was given."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room = room
        self.error = error
        self.given: list[list[int]] = []

    def work(self, part: list[int]) -> list[int]:
        self.given.append(part)
        if len(part) > self.room:
            raise self.error
        return [index * 10 for index in part]


@pytest.mark.parametrize("room", [1, 2, 3, 5, 8, 100])
def test_every_index_comes_once_in_order_whatever_fits(room: int) -> None:
    memory = Memory(room, RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert list(in_batches(memory.work, range(13), 8)) == [(i, i * 10) for i in range(13)]
    failed = [part for part in memory.given if len(part) > room]
    assert len(failed) <= 3  # 8, 4, 2: the smaller batch stays


def test_a_frame_that_does_not_fit_alone_is_one_sentence() -> None:
    memory = Memory(0, MemoryError())
    with pytest.raises(EchoQError, match=r"not enough memory for a single frame; .*\.$"):
        list(in_batches(memory.work, range(4), 4))


def test_other_errors_pass() -> None:
    memory = Memory(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        list(in_batches(memory.work, range(4), 4))
    assert len(memory.given) == 1


def test_indices_are_taken_one_batch_at_a_time() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for index in range(100):
            taken.append(index)
            yield index

    running = in_batches(Memory(100, MemoryError()).work, source(), 4)
    next(running)
    assert taken == [0, 1, 2, 3]


def test_cancel_stops_before_the_next_batch() -> None:
    memory = Memory(100, MemoryError())
    stop = False
    running = in_batches(memory.work, range(100), 4, lambda: stop)
    first = [next(running)[0] for _ in range(2)]
    stop = True
    assert first + [index for index, _ in running] == [0, 1, 2, 3]
    assert len(memory.given) == 1


def test_torch_errors_are_recognised() -> None:
    import torch

    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(ValueError("out of memory"))


def test_sizes_follow_the_device_and_the_person() -> None:
    import torch

    cpu = torch.device("cpu")
    assert batch_size(cpu, 7, gmac_per_frame=42) == 7
    assert batch_size(cpu, gmac_per_frame=42.3) == 1
    assert batch_size(cpu, gmac_per_frame=1.2, limits=BatchLimits(cpu_gmac=6)) == 5
    assert batch_size(cpu, gmac_per_frame=0.0001) == BatchLimits().cpu_most
