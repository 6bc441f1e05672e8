"""The strip of open loops with thumbnails, at the left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QImage, QKeyEvent, QPainter, QPixmap
from PySide6.QtWidgets import QListView, QListWidget, QListWidgetItem, QMenu, QWidget

from echoq_desktop import theme
from echoq_desktop.loop_state import phantom_path, sample_path

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.session import Session

THUMB = QSize(148, 104)
ID = Qt.ItemDataRole.UserRole


class LoopStrip(QListWidget):
    """One entry per open loop; files still being read show as grey entries with their progress."""

    close_asked = Signal(int)  # loop_id

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._thumbs: dict[int, QIcon] = {}
        self._waiting: dict[str, str] = {}  # file name -> how far it is read
        self.setAccessibleName("Open loops")
        self.setToolTip("Click a loop to show it; Delete closes it")
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setFlow(QListView.Flow.TopToBottom)
        self.setWrapping(False)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setIconSize(THUMB)
        self.setSpacing(3)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._menu)
        self.itemSelectionChanged.connect(self._on_chosen)
        session.loops_changed.connect(self._fill)
        session.current_changed.connect(self._mark)
        session.opening.changed.connect(self._fill)
        session.opening.progress.connect(self._on_progress)
        self._fill()

    def sizeHint(self) -> QSize:
        return QSize(THUMB.width() + 30, 400)

    def minimumSizeHint(self) -> QSize:
        return QSize(THUMB.width() + 26, 120)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        chosen = self.selectedItems()
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and chosen:
            self.close_asked.emit(chosen[0].data(ID))
        else:
            super().keyPressEvent(event)

    def _fill(self) -> None:
        self.blockSignals(True)
        self.clear()
        alive = {opened.loop_id for opened in self._session.loops}
        self._thumbs = {loop_id: icon for loop_id, icon in self._thumbs.items() if loop_id in alive}
        for opened in self._session.loops:
            self._add(self._thumb(opened), _words(opened), opened.loop_id)
        opening = {path.name for path in self._session.opening.files.values()}
        self._waiting = {name: text for name, text in self._waiting.items() if name in opening}
        for name in opening:
            item = self._add(_blank(), f"{name}\n{self._waiting.get(name, 'reading…')}", None)
            item.setFlags(Qt.ItemFlag.NoItemFlags)
        self.blockSignals(False)
        self._mark()

    def _add(self, icon: QIcon, text: str, loop_id: int | None) -> QListWidgetItem:
        item = QListWidgetItem(icon, text)
        item.setData(ID, loop_id)
        item.setToolTip(text)
        item.setTextAlignment(Qt.AlignmentFlag.AlignHCenter)
        item.setSizeHint(QSize(THUMB.width() + 14, THUMB.height() + 2 * self.fontMetrics().height() + 12))
        self.addItem(item)
        return item

    def _mark(self) -> None:
        """Select the loop shown."""
        current = self._session.current
        self.blockSignals(True)
        for row in range(self.count()):
            item = self.item(row)
            item.setSelected(current is not None and item.data(ID) == current.loop_id)
            if item.isSelected():
                self.setCurrentItem(item)
                self.scrollToItem(item)
        self.blockSignals(False)

    def _on_chosen(self) -> None:
        chosen = self.selectedItems()
        if chosen and chosen[0].data(ID) is not None:
            self._session.select(chosen[0].data(ID))

    def _on_progress(self, name: str, done: int, total: int) -> None:
        self._waiting[name] = f"{done} of {total} frames"
        for row in range(self.count()):
            item = self.item(row)
            if item.data(ID) is None and item.text().startswith(f"{name}\n"):
                item.setText(f"{name}\n{self._waiting[name]}")

    def _menu(self, at: QPoint) -> None:
        item = self.itemAt(at)
        if item is None or item.data(ID) is None:
            return
        loop_id = item.data(ID)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Close").triggered.connect(lambda: self.close_asked.emit(loop_id))
        menu.popup(self.viewport().mapToGlobal(at))

    def _thumb(self, opened: OpenedLoop) -> QIcon:
        if opened.loop_id not in self._thumbs:
            rgb = np.ascontiguousarray(opened.loop.rgb(len(opened.loop) // 2))
            height, width = rgb.shape[:2]
            image = QImage(rgb.data, width, height, width * 3, QImage.Format.Format_RGB888)
            mode = Qt.AspectRatioMode.KeepAspectRatio
            small = image.scaled(THUMB, mode, Qt.TransformationMode.SmoothTransformation)
            self._thumbs[opened.loop_id] = _icon(QPixmap.fromImage(small))
        return self._thumbs[opened.loop_id]


def _icon(picture: QPixmap | None) -> QIcon:
    """The picture in the middle of a black card; the same pixels when selected."""
    card = QPixmap(THUMB)
    card.fill(QColor(theme.IMAGE if picture is not None else theme.RAISED))
    if picture is not None:
        painter = QPainter(card)
        painter.drawPixmap((THUMB.width() - picture.width()) // 2, (THUMB.height() - picture.height()) // 2, picture)
        painter.end()
    made = QIcon(card)
    made.addPixmap(card, QIcon.Mode.Selected)
    return made


def _blank() -> QIcon:
    return _icon(None)


def _words(opened: OpenedLoop) -> str:
    """File name, frames and rate."""
    loop = opened.loop
    names = {sample_path(): "Sample loop", phantom_path(): "Phantom loop"}
    if opened.clean is not None:
        return f"{_words(opened.clean).splitlines()[0]} + noise\n{opened.summary['Noise']}"
    name = names.get(opened.path, opened.path.name)
    rate = "still" if len(loop) == 1 else f"{len(loop)} frames, {loop.fps:.0f} fps"
    return f"{name}\n{rate}"
