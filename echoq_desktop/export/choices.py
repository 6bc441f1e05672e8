"""What both export dialogs let a person choose: the method, the format, lossless or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QCheckBox, QComboBox

from echoq_desktop.export.formats import DICOM_ENCODINGS, FORMATS

if TYPE_CHECKING:
    from echoq_desktop.session import Session


def method_box(session: Session) -> QComboBox:
    """Which denoiser: those that can run can be chosen, the others say what they lack."""
    box = QComboBox()
    box.setAccessibleName("Method")
    box.setToolTip("Which denoiser's result to write")
    fill_methods(box, session)
    return box


def format_box() -> QComboBox:
    """Which of FORMATS, in their order; `currentData()` is the suffix."""
    box = QComboBox()
    box.setAccessibleName("Format")
    box.setToolTip("The kind of file to write for a loop")
    for each in FORMATS:
        box.addItem(each.title, each.suffix)
    return box


def lossless_box() -> QCheckBox:
    """Whether video keeps every grey level."""
    box = QCheckBox("Lossless, for measuring")
    box.setToolTip("Keep every grey level, in larger files that fewer players show; lossy video alone can raise gCNR")
    return box


def encoding_box() -> QComboBox:
    """How DICOM stores the frames; `currentData()` is what ExportOptions calls it."""
    box = QComboBox()
    box.setAccessibleName("DICOM encoding")
    box.setToolTip("How the frames are stored; each keeps every grey level")
    for title, name in DICOM_ENCODINGS.items():
        box.addItem(title, name)
    return box


def without_names_box() -> QCheckBox:
    """Whether what names the patient is left out."""
    box = QCheckBox("&Remove what names the patient")
    box.setToolTip(
        "Leave out names, numbers and dates, and blacken all but the ultrasound picture. "
        "What may still show a name is not written unless you say so"
    )
    return box


def fill_methods(box: QComboBox, session: Session) -> None:
    """Offer every denoiser the worker knows; the middle pane's comes first. `currentData()` is its name or None."""
    names = sorted(session.methods, key=lambda name: (name != session.middle, name == "bm3d", name))
    model = box.model()
    for place, name in enumerate(names):
        missing = session.methods[name]["missing"]
        box.addItem(session.title_of(name), None if missing else name)
        box.setItemData(place, missing or session.title_of(name), Qt.ItemDataRole.ToolTipRole)
        if missing and isinstance(model, QStandardItemModel):
            model.item(place).setEnabled(False)
            box.setItemText(place, f"{session.title_of(name)} (no weights)")
    ready = next((place for place in range(box.count()) if box.itemData(place) is not None), -1)
    box.setCurrentIndex(ready)
