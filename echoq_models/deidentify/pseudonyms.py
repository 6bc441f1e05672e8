"""Stand-ins for what names a person or a thing: the same for the same original under one key, and of no use without it.

Each is an HMAC-SHA256 of the original (RFC 2104) under a secret key, so that a list of likely names or numbers cannot
be tried out by someone who has the output alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from echoq_models.errors import InputError, OutputError

if TYPE_CHECKING:
    from pydicom import Dataset

KEY_BYTES = 32
SHORTEST_KEY = 16  # bytes; a shorter one could be found by trying
FEWEST_DAYS, MOST_DAYS = 30, 3650  # how far dates go back


class Pseudonyms:
    """Stand-ins under one key, bytes; without one, under a random key that is never written anywhere."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = secrets.token_bytes(KEY_BYTES) if key is None else key

    def _digest(self, kind: str, original: str | bytes) -> bytes:
        text = original.encode("utf-8", "surrogateescape") if isinstance(original, str) else original
        return hmac.new(self._key, kind.encode() + b"\0" + text, hashlib.sha256).digest()

    def patient(self, identity: str) -> str:
        """ "P" and 12 letters and digits."""
        return "P" + _letters(self._digest("patient", identity), 12)

    def uid(self, original: str) -> str:
        """A UID under 2.25, made from a UUID (PS3.5 B.2)."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', original)[:16], version=4).int}"

    def file(self, original: str | bytes) -> str:
        """A file's name without suffix: 16 letters and digits."""
        return _letters(self._digest("file", original), 16)

    def days(self, identity: str) -> int:
        """By how many days a patient's dates are moved: negative, the same for all of them."""
        number = int.from_bytes(self._digest("days", identity)[:8], "big")
        return -(FEWEST_DAYS + number % (MOST_DAYS - FEWEST_DAYS + 1))


def _letters(digest: bytes, count: int) -> str:
    return base64.b32encode(digest).decode()[:count]


def identity_of(header: Dataset) -> str:
    """What says whose an object is: patient ID with its issuer, else name and birth date, else the study."""
    from echoq_models.cine.dicom_header import value

    def text(keyword: str) -> str:
        return value(header, keyword, str, "").strip(" \0").casefold()

    if text("PatientID"):
        return "\0".join(["id", text("PatientID"), text("IssuerOfPatientID")])
    if text("PatientName").strip("^"):
        return "\0".join(["name", text("PatientName"), text("PatientBirthDate")])
    return "\0".join(["study", text("StudyInstanceUID") or text("SOPInstanceUID")])


def load_key(path: Path) -> bytes:
    """The key in a file, which is made with a random one (readable by its owner alone) when it is not there.

    Raises InputError for one that is too short or unreadable, OutputError when none can be made.
    """
    try:
        key = path.read_bytes().strip()
    except FileNotFoundError:
        return _make_key(path)
    except OSError as error:
        raise InputError(f"{path}: the key cannot be read ({error.strerror or error})") from error
    if len(key) < SHORTEST_KEY:
        raise InputError(f"{path}: this is no key; a key has at least {SHORTEST_KEY} characters")
    return key


def _make_key(path: Path) -> bytes:
    key = secrets.token_hex(KEY_BYTES).encode()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(key + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"{path}: the key cannot be written ({error.strerror or error})") from error
    return key
