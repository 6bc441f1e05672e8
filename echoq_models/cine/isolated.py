"""Decode frames in a process of its own: gdcm and CharLS crash or stall on damaged data, and must not take us along."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import dicom_pixels as pixels_of

SECONDS_PER_FRAME = 5.0  # plus a second for every 100,000 pixels; sound frames take milliseconds
FROZEN_CHILD = "--decode-frames"  # asks a frozen EchoQ to be the process behind IsolatedDecoder
_ROOT = Path(__file__).parents[2]


def needs_isolation(layout: pixels_of.PixelFormat) -> bool:
    """True for the syntaxes whose decoders were seen to crash or stall on damaged data."""
    twelve_bit = layout.syntax in pixels_of.JPEG and layout.bits_stored > 8
    return twelve_bit or layout.syntax in (*pixels_of.JPEG_LOSSLESS, *pixels_of.JPEG_LS)


class FrameTimeout(ValueError):
    """A frame took so long that the rest of the file is not worth trying."""


class DecoderCrash(ValueError):
    """A frame killed its decoder; a new one costs half a second, so few of these are borne."""


class IsolatedDecoder:
    """Stands in for FrameDecoder; the process is started at the first frame and again after a crash."""

    def __init__(self, layout: pixels_of.PixelFormat) -> None:
        self.layout = layout
        self._child: subprocess.Popen[bytes] | None = None

    def decode(self, data: bytes) -> tuple[NDArray[Any], str]:
        """As FrameDecoder.decode. Raises ValueError, FrameTimeout, DecoderCrash."""
        child = self._child or self._start()
        seconds = SECONDS_PER_FRAME + self.layout.rows * self.layout.columns / 1e5
        late = threading.Event()

        def give_up() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(seconds, give_up)
        timer.start()
        try:
            answer = self._ask(child, data)
        finally:
            timer.cancel()
        if late.is_set():
            self.close()
            raise FrameTimeout("a frame cannot be decoded in reasonable time")
        if answer is None:
            self.close()
            raise DecoderCrash("a frame is so damaged that its decoder crashed")
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("isolated_main.py")
        frozen = getattr(sys, "frozen", False)  # then the executable is EchoQ's: installer/frozen.py hears the option
        command = [sys.executable, FROZEN_CHILD] if frozen else [sys.executable, "-P", str(script)]
        self._child = subprocess.Popen(
            [*command, str(_ROOT), json.dumps(dataclasses.asdict(self.layout))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        return self._child

    @staticmethod
    def _ask(child: subprocess.Popen[bytes], data: bytes) -> tuple[NDArray[Any], str] | None:
        """The decoded frame; None when the process has died. Raises ValueError when it refuses the frame."""
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(len(data).to_bytes(8, "little") + data)
            child.stdin.flush()
            line = child.stdout.readline(4096)
            if not line:
                return None
            reply = json.loads(line)
            if "error" in reply:
                raise ValueError(reply["error"])
            pixels = child.stdout.read(reply["bytes"])
        except OSError:
            return None
        if len(pixels) != reply["bytes"]:
            return None
        return np.frombuffer(pixels, dtype=reply["dtype"]).reshape(reply["shape"]), reply["photometric"]

    def close(self) -> None:
        """End the process."""
        if self._child is None:
            return
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._child = None


def decoder_for(layout: pixels_of.PixelFormat) -> pixels_of.FrameDecoder | IsolatedDecoder:
    """The decoder that suits a format."""
    if needs_isolation(layout) and sys.executable:
        return IsolatedDecoder(layout)
    return pixels_of.FrameDecoder(layout)
