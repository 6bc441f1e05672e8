"""Read every damaged copy of a file in a process of its own, which native decoders may crash without harm.

Usage: read_many.py ORIGINAL FOLDER FIRST COUNT SECONDS
Copies are made from seeds FIRST ... FIRST + COUNT - 1. Prints one line a copy: its seed and what became of it.
"""

from __future__ import annotations

import faulthandler
import random
import signal
import sys
import traceback
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from mutate import damage  # noqa: E402

from echoq_models.cine import CineLoop, ffmpeg, isolated, read  # noqa: E402
from echoq_models.errors import InputError  # noqa: E402


class TooLong(BaseException):
    """Not an Exception, so that no handler swallows it."""


def _too_long(*_: object) -> None:
    raise TooLong


def outcome(path: Path, seconds: int) -> str:
    """ "loop", "refused", or what went wrong."""
    signal.alarm(seconds)
    try:
        loop = read(path)
        assert isinstance(loop, CineLoop)
        sentences = loop.warnings
        if all(len(w) < 400 and "Nobody" not in w for w in sentences):
            return "loop"
        return f"BAD TEXT {sentences!r}"
    except InputError as error:
        text = str(error)
        good = str(path) in text and "\n" not in text and len(text) < 600 and "Nobody" not in text
        return "refused" if good else f"BAD TEXT {text!r}"
    except TooLong:
        return "HANG"
    except BaseException:
        return "RAISED " + traceback.format_exc(limit=-3).replace("\n", " | ")
    finally:
        signal.alarm(0)


def main() -> None:
    original, folder, first, count, seconds = sys.argv[1:]
    faulthandler.enable()
    isolated.SECONDS_PER_FRAME, ffmpeg.QUIET_SECONDS = 2.0, 5.0
    signal.signal(signal.SIGALRM, _too_long)
    data = Path(original).read_bytes()
    for seed in range(int(first), int(first) + int(count)):
        rng = random.Random(zlib.crc32(data) + seed)
        copy = Path(folder) / f"damaged-{seed}"
        copy.write_bytes(damage(data, rng))
        print(seed, outcome(copy, int(seconds)), flush=True)
        copy.unlink()


if __name__ == "__main__":
    main()
