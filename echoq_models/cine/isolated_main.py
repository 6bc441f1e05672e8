"""The process behind isolated.IsolatedDecoder. Usage: isolated_main.py ROOT LAYOUT-JSON

Reads frames (8 bytes of length, then the codestream) and answers each with one line of JSON and the samples.
It ends when its input does.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Decode until the input ends."""
    sys.path.insert(0, sys.argv[1])
    from echoq_models.cine.dicom_pixels import FrameDecoder, PixelFormat

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native code prints must not mix with the answers
    decoder = FrameDecoder(PixelFormat(**json.loads(sys.argv[2])))
    while head := sys.stdin.buffer.read(8):
        data = sys.stdin.buffer.read(int.from_bytes(head, "little"))
        try:
            array, photometric = decoder.decode(data)
        except ValueError as error:
            answers.write(json.dumps({"error": str(error)[:300]}).encode() + b"\n")
        else:
            pixels = array.tobytes()
            facts = {"shape": array.shape, "dtype": array.dtype.str, "photometric": photometric, "bytes": len(pixels)}
            answers.write(json.dumps(facts).encode() + b"\n" + pixels)
        answers.flush()


if __name__ == "__main__":
    main()
