"""`echoq info DICOMDIR`: the loops that a DICOMDIR lists."""

from __future__ import annotations

from pathlib import Path

from echoq_desktop import terminal
from echoq_desktop.cli_options import print_json
from echoq_desktop.terminal import complain


def info(dicomdir: Path, as_json: bool) -> None:
    """Say which loops a DICOMDIR lists, from their headers, and which files are left out. Raises InputError."""
    from echoq_models.cine import dicom_study

    study = dicom_study.read_study(dicomdir)
    names = [path.relative_to(dicomdir.parent).as_posix() for path in study.loops]
    outlines = [dicom_study.outline(path) for path in study.loops]
    if as_json:
        loops = [{"file": name, **found} for name, found in zip(names, outlines, strict=True)]
        left_out = [{"file": name, "reason": reason} for name, reason in study.left_out]
        print_json({"file": str(dicomdir), "kind": dicom_study.NAME, "loops": loops, "left_out": left_out})
        return
    rows = [["file", "modality", "frames", "size"]]
    for name, found in zip(names, outlines, strict=True):
        if "problem" in found:
            rows.append([name, "-", "-", "unreadable"])
        else:
            size = f"{found['width']} x {found['height']}"
            rows.append([name, found["modality"] or "-", str(found["frames"]), size])
    print(terminal.table(rows) if names else f"{dicomdir}: no loop that is there")
    for sentence in study.complaints():
        complain(sentence)
