"""Grey pictures and labels from NIfTI and plain MetaImage files, as stacks of frames with their pixel spacing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import EchoQError, InputError

NIFTI = (".nii.gz", ".nii")
METAIMAGE = ".mhd"
_MOST_BYTES = 1 << 30  # a half cycle of large frames takes 20 MB
_STEP_MM = (0.02, 2.0)  # millimetres per pixel that an echo picture may have
_ELEMENTS = {"MET_UCHAR": "u1", "MET_CHAR": "i1", "MET_USHORT": "u2", "MET_SHORT": "i2", "MET_FLOAT": "f4"}


@dataclass(frozen=True)
class Volume:
    """values: (T, H, W) of any real dtype, as stored.  spacing_mm: (x, y), None where the file gives none."""

    values: NDArray[Any]
    spacing_mm: tuple[float, float] | None

    @cached_property
    def grey(self) -> NDArray[np.uint8]:
        """The frames as uint8. Values that are no grey levels 0-255 (signed, deeper, or 0 to 1) are spread over
        them, all frames alike, with 0 as black where nothing is below it."""
        values = np.where(np.isfinite(self.values), self.values, 0)
        low, high = min(0.0, float(values.min())), float(values.max())
        fraction = values.dtype.kind == "f" and high <= 1
        if low < 0 or high > 255 or fraction:
            values = (values - low) * (255.0 / max(high - low, 1e-9))
        return np.rint(values).astype(np.uint8)


def square_pixels(frames: NDArray[np.uint8], spacing_mm: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Frames (T, H, W) as on a screen: both spacings (x, y) become the finer one where they differ."""
    if spacing_mm is None or spacing_mm[0] == spacing_mm[1]:
        return frames
    width, height = (
        round(side * step / min(spacing_mm)) for side, step in zip(frames.shape[:0:-1], spacing_mm, strict=True)
    )
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR) for frame in frames])


def read_volume(path: Path) -> Volume:
    """Read a picture, or a sequence of them, from .nii, .nii.gz or .mhd.

    The archives store x, then y, then time, and write the rows from the probe downwards, whatever the file's affine
    says. Raises InputError with one sentence, and EchoQError when nibabel is missing.
    """
    if path.suffix != METAIMAGE and find_spec("nibabel") is None:
        raise EchoQError("NIfTI needs nibabel: install EchoQ with its extra 'train', as in pip install '.[train]'.")
    try:
        stored, spacing = _metaimage(path) if path.suffix == METAIMAGE else _nifti(path)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: it does not fit this computer's memory.") from error
    except Exception as error:  # damaged headers raise whatever the damage provokes
        raise InputError(f"{path}: the file is damaged and cannot be read ({type(error).__name__}).") from error
    if stored.dtype.kind not in "buif" or stored.ndim < 2 or stored.size == 0:
        raise InputError(f"{path}: it holds no grey pictures.")
    longer = tuple(n for n in stored.shape[2:] if n > 1)
    if len(longer) > 1:
        raise InputError(f"{path}: it has the shape {stored.shape}, where pictures or one sequence were expected.")
    frames = stored.reshape(*stored.shape[:2], *(longer or (1,))).transpose(2, 1, 0)
    # An unset header says 1 x 1.
    measured = spacing != (1.0, 1.0) and all(_STEP_MM[0] <= step <= _STEP_MM[1] for step in spacing)
    return Volume(frames, spacing if measured else None)


def _check_bytes(path: Path, shape: tuple[int, ...], item: int) -> None:
    """Before anything is allocated: a damaged header may claim any size."""
    if min(shape, default=0) < 1 or math.prod(shape) * item > _MOST_BYTES:
        raise InputError(f"{path}: its header claims {' x '.join(map(str, shape))} pixels; the file is damaged.")


def _nifti(path: Path) -> tuple[NDArray[Any], tuple[float, float]]:
    """Array (x, y, ...) with the header's scaling applied, and its spacing (x, y) in mm."""
    import nibabel

    nibabel.imageglobals.logger.disabled = True  # its remarks on headers name no file
    image = nibabel.Nifti1Image.from_filename(path)
    _check_bytes(path, image.shape, image.get_data_dtype().itemsize)
    zooms = image.header.get_zooms()
    return np.asarray(image.dataobj), (float(zooms[0]), float(zooms[1]))


def _metaimage(path: Path) -> tuple[NDArray[Any], tuple[float, float]]:
    """Array (x, y, ...) of a text header with its pixels, uncompressed, in a file beside it."""
    lines = path.read_text(encoding="latin-1").splitlines()
    head = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    pixels, element = head["ElementDataFile"], head["ElementType"]
    packed = head.get("CompressedData", "False").lower() == "true"
    if packed or element not in _ELEMENTS or pixels != Path(pixels).name or pixels == "LOCAL":
        raise InputError(f"{path}: only uncompressed grey MetaImages with a .raw file beside them can be read.")
    big = "true" in (head.get(key, "").lower() for key in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"))
    kind = np.dtype((">" if big else "<") + _ELEMENTS[element])
    shape = tuple(int(n) for n in head["DimSize"].split())
    _check_bytes(path, shape, kind.itemsize)
    data = path.with_name(pixels).read_bytes()
    if len(data) != math.prod(shape) * kind.itemsize:
        raise InputError(f"{path}: {pixels} holds {len(data)} bytes, where the header asks for another number.")
    x, y = (float(step) for step in head["ElementSpacing"].split()[:2])
    return np.frombuffer(data, kind).reshape(shape[::-1]).T, (x, y)
