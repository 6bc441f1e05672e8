"""Controls of the noise dock: sliders around zero with a number beside them, and the bar of a running job."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRectF, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QSizePolicy,
    QSlider,
    QStyle,
    QStyleOptionSlider,
    QWidget,
)

from echoq_desktop.export.progress import TimeLeft, time_left_text
from echoq_desktop.noise_work import NoiseWork
from echoq_desktop.panels.region_boxes import button
from echoq_desktop.theme import ACCENT, LINE, RAISED_HOVER, SPACE

STEPS = 10  # of a slider for one standard deviation
GROOVE = 4.0  # pixels of height
KEYS = (
    *(Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down),
    *(Qt.Key.Key_PageUp, Qt.Key.Key_PageDown, Qt.Key.Key_Home, Qt.Key.Key_End),
)


class _Slider(QSlider):
    """A slider whose bar begins at zero; double-click goes there, the wheel turns it only once it has the keyboard."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setStyleSheet(
            "QSlider::groove:horizontal, QSlider::sub-page:horizontal, QSlider::sub-page:horizontal:disabled"
            "{ background: transparent; }"
        )
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setPageStep(STEPS)

    def event(self, event: QEvent) -> bool:
        """The arrows, pages and ends are this slider's while it has the keyboard, not the loop's."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and event.key() in KEYS:
            event.accept()
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        option = QStyleOptionSlider()
        self.initStyleOption(option)
        part = QStyle.SubControl.SC_SliderHandle
        handle = self.style().subControlRect(QStyle.ComplexControl.CC_Slider, option, part, self).center().x()
        painter, middle, y = QPainter(self), self.width() / 2, self.height() / 2
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(RAISED_HOVER))
        painter.drawRoundedRect(QRectF(0, y - GROOVE / 2, self.width(), GROOVE), 2, 2)
        painter.drawRect(QRectF(middle - 0.5, y - 6, 1, 12))
        painter.setBrush(QColor(ACCENT if self.isEnabled() else LINE))
        painter.drawRect(QRectF(min(middle, handle), y - GROOVE / 2, abs(handle - middle), GROOVE))
        painter.end()
        super().paintEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.setValue(0)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()  # the dock scrolls


class _Number(QDoubleSpinBox):
    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class Strength(QWidget):
    """A name, a slider and a number, in standard deviations."""

    turned = Signal(float)

    def __init__(self, name: str, limit: float, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = QLabel(name[:1].upper() + name[1:])
        self.label.setMinimumWidth(78)
        self.slider, self.number = _Slider(), _Number()
        self.number.setDecimals(1)
        self.number.setSingleStep(1 / STEPS)
        self.number.setSuffix(" σ")
        self.number.setFixedWidth(82)
        self.number.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.slider.setAccessibleName(f"{name}, slider")
        self.number.setAccessibleName(f"{name}, standard deviations")
        self.set_limit(limit)
        self.set_tip(tip)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SPACE)
        line.addWidget(self.label)
        line.addWidget(self.slider, 1)
        line.addWidget(self.number)
        self.slider.valueChanged.connect(lambda steps: self._turn(steps / STEPS))
        self.number.valueChanged.connect(self._turn)

    def set_limit(self, limit: float) -> None:
        """How far it can be turned either way."""
        with QSignalBlocker(self.slider), QSignalBlocker(self.number):
            self.slider.setRange(-round(limit * STEPS), round(limit * STEPS))
            self.number.setRange(-limit, limit)

    def set_tip(self, tip: str) -> None:
        """What a person should know of it."""
        for widget in (self.label, self.slider, self.number):
            widget.setToolTip(tip)

    @property
    def value(self) -> float:
        """Standard deviations."""
        return self.number.value()

    def show_value(self, value: float) -> None:
        """Show a value without telling anybody."""
        with QSignalBlocker(self.slider), QSignalBlocker(self.number):
            self.slider.setValue(round(value * STEPS))
            self.number.setValue(value)
        self.slider.update()

    def _turn(self, value: float) -> None:
        self.show_value(value)
        self.turned.emit(value)


class JobLine(QWidget):
    """A running job of the noise dock: what it does, a bar, the time left, Cancel; hidden while none runs."""

    def __init__(self, work: NoiseWork, what: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._work, self._what, self._title = work, what, title
        self._number, self._left = 0, TimeLeft()
        self.bar = QProgressBar()
        self.bar.setAccessibleName(title)
        self.bar.setFixedHeight(8)
        self.bar.setTextVisible(False)
        self.text = QLabel()
        self.text.setAccessibleName(f"{title}: how far it is")
        self.text.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.cancel_button = button("Cancel", f"Stop: {title.lower()}", lambda: work.cancel(what), f"Cancel: {title}")
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.bar, 1)
        line.addWidget(self.text)
        line.addWidget(self.cancel_button)
        work.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show how far it is."""
        job = self._work.job(self._what)
        self.setVisible(job is not None)
        if job is None:
            return
        if job.number != self._number:
            self._number, self._left = job.number, TimeLeft()
        self.bar.setRange(0, job.total)
        self.bar.setValue(job.done)
        left = self._left.update(job.done, job.total) if job.total else None
        self.text.setText(time_left_text(left) or f"{job.text or self._title}…")
