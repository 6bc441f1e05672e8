"""One pane: the picture, its captions outside the picture, depth ticks, regions, and the mouse on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from echoq_desktop.player import captions, paint
from echoq_desktop.player.camera import Camera

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.player.drawing import RegionTool
    from echoq_desktop.player.picture import Pictures
    from echoq_desktop.player.view import ViewState
    from echoq_desktop.session import Session

GRAB = 8.0  # widget pixels within which a vertex, an edge or the wipe's edge is caught
MARGIN = 4.0
ZOOM_STEP = 1.2  # per wheel notch
SCALE_STEP = 1.03  # of a region, per wheel notch with Shift
SECTOR_MARGIN = 0.04  # around the sector, as a share of its larger side


class Pane(QWidget):
    """Shows one pane's frames, or two of them on either side of a draggable edge (wipe).

    names: the session's pane names shown here, left to right. `first` panes also carry rates and heart rate.
    """

    def __init__(
        self,
        session: Session,
        state: ViewState,
        tool: RegionTool,
        pictures: Pictures,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.names: tuple[str, ...] = ()
        self.first = False
        self.regions_shown = True
        self.shown_fps = 0.0
        self._session, self._state, self._tool, self._pictures = session, state, tool, pictures
        self._pan_from: QPointF | None = None
        self._wiping = False
        self.mouse_at: QPointF | None = None
        self.painted: dict[str, tuple[int, bool]] = {}  # name -> frame last painted, and whether it was its own
        self._fits: tuple[object, QRectF] = (None, QRectF())
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(160, 160)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    def sizeHint(self) -> QSize:
        return QSize(420, 520)

    def show_panes(self, names: tuple[str, ...], first: bool) -> None:
        """What to show: one name, or two to be wiped."""
        self.names, self.first = names, first
        titles = " and ".join(self._session.title_of(name) for name in names)
        self.setAccessibleName(f"Image: {titles}")
        self.setVisible(bool(names))
        self.update()

    # geometry

    @property
    def camera(self) -> Camera | None:
        """The mapping between source and widget pixels; None when nothing is open."""
        opened = self._session.current
        if opened is None:
            return None
        spacing = opened.spacing
        right = captions.TICK_ROOM if spacing is not None else MARGIN
        area = QRectF(self.rect()).adjusted(MARGIN, captions.HEAD, -right, -captions.FOOT)
        aspect = 1.0 if spacing is None else spacing.mm_per_pixel_y / spacing.mm_per_pixel_x
        key = opened.loop_id, self._state.view.whole
        if self._fits[0] != key:
            self._fits = key, _fitted(opened, self._state.view.whole)
        return Camera(area, opened.loop.size, self._state.view, self._fits[1], aspect)

    def source_point(self, x: float, y: float) -> QPointF:
        """Widget point of the source pixel (x, y)."""
        camera = self.camera
        return QPointF() if camera is None else camera.transform.map(QPointF(x, y))

    def edge_x(self, camera: Camera) -> float:
        """Widget x of the wipe's edge."""
        picture = camera.picture.intersected(camera.area)
        return picture.left() + self._state.view.wipe * picture.width()

    # painting

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), paint.BLACK)
        camera = self.camera
        self.painted = {}
        if camera is None or not self.names:
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setClipRect(camera.area)
        if len(self.names) == 2:
            edge = self.edge_x(camera)
            left = QRectF(camera.area.left(), camera.area.top(), edge - camera.area.left(), camera.area.height())
            right = QRectF(edge, camera.area.top(), camera.area.right() - edge, camera.area.height())
            for name, part in zip(self.names, (left, right), strict=True):
                painter.setClipRect(part)
                self._paint_picture(painter, camera, name)
            painter.setClipRect(camera.area)
            paint.wipe_edge(painter, camera, edge)
        else:
            self._paint_picture(painter, camera, self.names[0])
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.regions_shown and any(self._session.missing(name) is None for name in self.names):
            paint.regions(painter, camera, self._session, self._tool, mouse_here=self.underMouse())
        painter.setClipping(False)
        captions.draw(painter, self, self._session, self._state.view, camera)

    def _paint_picture(self, painter: QPainter, camera: Camera, name: str) -> None:
        if self._session.missing(name) is not None:
            return
        place, ratio = camera.picture, self.devicePixelRatioF()
        target = round(place.width() * ratio), round(place.height() * ratio)
        image, own = self._pictures.picture(name, self._state.view, target)
        self.painted[name] = self._session.frame, own
        if not own:
            painter.setOpacity(paint.VEIL)
        if (image.width(), image.height()) == target:  # pixel for pixel
            image.setDevicePixelRatio(ratio)
            painter.drawImage(QPointF(round(place.x() * ratio) / ratio, round(place.y() * ratio) / ratio), image)
        else:
            painter.drawImage(place, image)
        painter.setOpacity(1.0)

    # mouse and keys

    def mousePressEvent(self, event: QMouseEvent) -> None:
        camera = self.camera
        if camera is None:
            return
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        at, button = event.position(), event.button()
        if button == Qt.MouseButton.LeftButton and self._on_wipe_edge(camera, at):
            self._wiping = True
        else:
            taken = button != Qt.MouseButton.MiddleButton and self._take_press(camera, at, button)
            if not taken and button != Qt.MouseButton.RightButton:
                self._pan_from = at
        self._set_cursor(camera, at)

    def _take_press(self, camera: Camera, at: QPointF, button: Qt.MouseButton) -> bool:
        if not self.regions_shown:
            return False
        return self._tool.press(camera.to_source(at), GRAB / camera.scale, button)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        camera = self.camera
        if camera is None:
            return
        at = event.position()
        self.mouse_at = at
        if self._wiping:
            picture = camera.picture.intersected(camera.area)
            share = (at.x() - picture.left()) / max(picture.width(), 1.0)
            self._state.set(wipe=min(max(share, 0.0), 1.0))
        elif self._pan_from is not None:
            self._state.set(centre=camera.moved(at - self._pan_from))
            self._pan_from = at
        else:
            self._tool.move(camera.to_source(at), GRAB / camera.scale)
        self._set_cursor(camera, at)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        camera = self.camera
        self._wiping, self._pan_from = False, None
        if camera is not None:
            self._tool.release(camera.to_source(event.position()))
            self._set_cursor(camera, event.position())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        camera = self.camera
        if camera is None or event.button() != Qt.MouseButton.LeftButton:
            return
        at = camera.to_source(event.position())
        if not self._tool.double_click(at, GRAB / camera.scale) and self._session.tool == "look":
            self._state.toggle_magnify(at)

    def wheelEvent(self, event: QWheelEvent) -> None:
        camera = self.camera
        turned = event.angleDelta()
        notches = (turned.y() or turned.x()) / 120.0  # with Shift some systems turn the wheel sideways
        if camera is None or not notches:
            return
        event.accept()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self._tool.editing and self.regions_shown:
            self._tool.scale_at(camera.to_source(event.position()), GRAB / camera.scale, SCALE_STEP**notches)
            return
        zoom, centre = camera.zoomed(ZOOM_STEP**notches, event.position())
        self._state.set(zoom=zoom, centre=centre)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if not self._tool.key(event.key()):
            super().keyPressEvent(event)

    def leaveEvent(self, event: object) -> None:
        self.mouse_at = None
        self._tool.cursor = None
        self.update()

    def _on_wipe_edge(self, camera: Camera, at: QPointF) -> bool:
        """The whole edge can be grabbed while looking; only its grip while drawing or editing."""
        if len(self.names) != 2 or abs(at.x() - self.edge_x(camera)) > GRAB:
            return False
        return self._session.tool == "look" or at.y() > camera.area.bottom() - paint.GRIP_ROOM

    def _set_cursor(self, camera: Camera, at: QPointF) -> None:
        shape = Qt.CursorShape.ArrowCursor
        if self._wiping or self._on_wipe_edge(camera, at):
            shape = Qt.CursorShape.SplitHCursor
        elif self._tool.drawing:
            shape = Qt.CursorShape.CrossCursor
        elif self._tool.editing and self._tool.hover is not None:
            hover = self._tool.hover
            falling = Qt.CursorShape.SizeFDiagCursor, Qt.CursorShape.SizeBDiagCursor
            if hover.corner is not None:
                shape = falling[hover.corner % 2]
            else:
                shape = Qt.CursorShape.SizeAllCursor if hover.whole else Qt.CursorShape.PointingHandCursor
        elif self._state.view.zoom > 1.0:
            held = self._pan_from is not None
            shape = Qt.CursorShape.ClosedHandCursor if held else Qt.CursorShape.OpenHandCursor
        if shape != self.cursor().shape():
            self.setCursor(shape)


def _fitted(opened: OpenedLoop, whole: bool) -> QRectF:
    """What a pane shows at zoom 1, in source pixels: the sector's box with a margin, or the whole frame."""
    height, width = opened.loop.size
    frame = QRectF(-0.5, -0.5, width, height)
    if whole or opened.sector_mask is None or not opened.sector_mask.any():
        return frame
    rows, columns = (np.flatnonzero(opened.sector_mask.any(axis=axis)) for axis in (1, 0))
    left, right, top, bottom = int(columns[0]), int(columns[-1]), int(rows[0]), int(rows[-1])
    margin = SECTOR_MARGIN * max(right - left, bottom - top)
    box = QRectF(left - 0.5, top - 0.5, right - left + 1, bottom - top + 1)
    return box.adjusted(-margin, -margin, margin, margin).intersected(frame)
