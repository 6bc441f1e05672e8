"""Damage files in the ways that disks, networks and half-finished copies do, reproducibly."""

from __future__ import annotations

import random

_EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x01\0\0\0", b"\0\0\0\x01", b"\xff\xff", b"\0\0")


def damage(data: bytes, rng: random.Random) -> bytes:
    """A damaged copy: one to four of cutting, flipping, overwriting, deleting, doubling, blanking."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if len(out) < 8:
            break
        # headers are short and matter most: half of all damage falls into the first kilobyte
        end = len(out) if rng.random() < 0.5 else min(len(out), 1024)
        at = rng.randrange(end)
        length = min(rng.choice((1, 2, 4, 16, 64, 512)), len(out) - at)
        _one(out, at, length, rng)
    return bytes(out)


def _one(out: bytearray, at: int, length: int, rng: random.Random) -> None:
    what = rng.randrange(7)
    if what == 0:
        del out[max(at, 1) :]
    elif what == 1:
        out[at] ^= 1 << rng.randrange(8)
    elif what == 2:
        out[at : at + length] = rng.randbytes(length)
    elif what == 3:
        del out[at : at + length]
    elif what == 4:
        out[at:at] = out[at : at + length]
    elif what == 5:
        out[at : at + length] = bytes(length)
    else:
        extreme = rng.choice(_EXTREMES)
        out[at : at + len(extreme)] = extreme
