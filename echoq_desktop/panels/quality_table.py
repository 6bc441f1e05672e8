"""The quality dock's table: a row a figure, a column a pane."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from echoq_desktop.panels.quality_report import ROW_TIPS, ROWS
from echoq_desktop.theme import PANEL, RADIUS, WARNING

BIG_ROWS = (0, 1)  # what a person came for


class _PaneHeader(QHeaderView):
    """Titles of the panes, each underlined in the pane's colour."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.colours: list[QColor] = []
        self.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextWordWrap)
        self.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.setHighlightSections(False)
        self.setSectionsClickable(False)

    def paintSection(self, painter: QPainter, rect: QRect, index: int) -> None:
        super().paintSection(painter, rect, index)
        if index < len(self.colours):
            painter.fillRect(rect.left() + 8, rect.bottom() - 1, rect.width() - 12, 2, self.colours[index])


class QualityTable(QTableWidget):
    """Six figures of each pane; cells are read-only, keyboard reaches each of them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(len(ROWS), 0, parent)
        self._heads = _PaneHeader(self)
        self.setHorizontalHeader(self._heads)
        self.setStyleSheet(
            f"QTableWidget, QTableCornerButton::section {{ background: {PANEL}; border: none; }}"
            "QHeaderView::section:vertical { padding: 0 6px; }"
        )
        self.setAccessibleName("Quality of each pane")
        self.setToolTip("gCNR, contrast and CNR between left ventricle and myocardium, for each pane")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setFrameShape(QTableWidget.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        for row, (name, tip) in enumerate(zip(ROWS, ROW_TIPS, strict=True)):
            item = QTableWidgetItem(name)
            item.setToolTip(tip)
            item.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            self.setVerticalHeaderItem(row, item)
        down = self.verticalHeader()
        down.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        down.setDefaultSectionSize(self.fontMetrics().height() + 6)
        down.setHighlightSections(False)
        down.setSectionsClickable(False)
        self.badge = _badge(self)
        self._fit()

    def set_lossy(self, history: Sequence[str]) -> None:
        """Show a badge in the corner when the source went through lossy compression; `history`: by what."""
        self.badge.setVisible(bool(history))
        kinds = ", ".join(dict.fromkeys(history))
        self.badge.setToolTip(
            f"This loop was compressed with loss ({kinds}).\n"
            "Compression alone can raise gCNR: compare only with loops compressed alike."
        )

    def _fit(self) -> None:
        line = self.fontMetrics().height()
        self._heads.setFixedHeight(2 * line + 8)  # a title of two words
        self.setFixedHeight(self.verticalHeader().defaultSectionSize() * len(ROWS) + self._heads.height() + 2)
        self.badge.move(2, (self._heads.height() - self.badge.height()) // 2)

    def set_panes(self, panes: Sequence[tuple[str, QColor]]) -> None:
        """One column for each (title, colour)."""
        self.setColumnCount(len(panes))
        self._heads.colours = [colour for _, colour in panes]
        for column, (title, _) in enumerate(panes):
            self.setHorizontalHeaderItem(column, QTableWidgetItem(title))
            for row in range(len(ROWS)):
                item = QTableWidgetItem("")
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                if row in BIG_ROWS:
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
                self.setItem(row, column, item)
        self._fit()

    def set_column(self, column: int, texts: Sequence[str], missing: str | None) -> None:
        """Fill a pane's column; `missing` tells in a tooltip why a pane has no figures."""
        for row, text in enumerate(texts):
            item = self.item(row, column)
            if item is not None and item.text() != text:
                item.setText(text)
            if item is not None:
                item.setToolTip(missing or ROW_TIPS[row])

    def columns(self) -> list[list[str]]:
        """The texts of all columns."""
        out = []
        for column in range(self.columnCount()):
            items = [self.item(row, column) for row in range(len(ROWS))]
            out.append(["" if item is None else item.text() for item in items])
        return out


def _badge(parent: QWidget) -> QLabel:
    """An amber plate, as in the status bar."""
    made = QLabel("Lossy source", parent)
    made.setStyleSheet(
        f"color: {WARNING}; border: 1px solid {WARNING}; border-radius: {RADIUS}px; padding: 1px 5px; font-weight: 600;"
    )
    made.setAccessibleName("Lossy source: compression can raise gCNR")
    made.adjustSize()
    made.hide()
    return made
