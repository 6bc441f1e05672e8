"""The list of denoisers in a dialog: those that can run can be chosen, the others say what they lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QComboBox

if TYPE_CHECKING:
    from echoq_desktop.session import Session


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
