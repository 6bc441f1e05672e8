"""The main window: loop strip, panes over the transport bar, docks, menus."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, QUrl, Signal
from PySide6.QtGui import QAction, QActionGroup, QCloseEvent, QDesktopServices, QDragEnterEvent, QDropEvent, QShowEvent
from PySide6.QtWidgets import QDockWidget, QLabel, QMainWindow, QMenu, QTabWidget, QVBoxLayout, QWidget

from echoq_desktop import actions as action_table
from echoq_desktop import icons, theme
from echoq_desktop.banner import Banner
from echoq_desktop.documents import Documents
from echoq_desktop.export.dialogs import BatchDialog, ExportDialog
from echoq_desktop.focus import FocusKeeper
from echoq_desktop.help import AboutDialog, ShortcutsDialog
from echoq_desktop.loop_strip import LoopStrip
from echoq_desktop.noise_actions import NoiseActions
from echoq_desktop.panels.loop_info import LoopPanel
from echoq_desktop.panels.noise import NoisePanel
from echoq_desktop.panels.quality import QualityPanel
from echoq_desktop.panels.regions import RegionsPanel
from echoq_desktop.player.panes import PaneArea
from echoq_desktop.player.transport import Player, TransportBar
from echoq_desktop.player.view import ViewState
from echoq_desktop.preferences import settings_path
from echoq_desktop.reading import ReadingBar
from echoq_desktop.region_actions import RegionActions
from echoq_desktop.view_actions import ViewActions
from echoq_desktop.view_bar import ViewBar

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.preferences import Preferences
    from echoq_desktop.session import Session

FIRST_SIZE = QSize(1600, 900)
DOCK_WIDTH = 356  # the figures of three panes side by side
MESSAGE_MS = 12000
NOTICE = "Research use only – not for diagnosis"


class MainWindow(QMainWindow):
    """All of EchoQ on one screen."""

    closed = Signal()

    def __init__(self, session: Session, preferences: Preferences, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session, self.preferences = session, preferences
        session.work.reviewer = preferences.free_text("review/who", session.work.reviewer)
        session.work.reviewer_changed.connect(lambda name: preferences.store("review/who", name))
        self.setWindowTitle("EchoQ")
        self.setWindowIcon(icons.app_icon())
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        self.state = ViewState(self)
        self.player = Player(session, self)
        self.documents = Documents(session, preferences, self)
        self.actions_by_name = action_table.build(self, preferences)
        self.panes = PaneArea(session, self.state, self.player.clock, self)
        self.banner = Banner(session)
        self.transport = TransportBar(session, self.player, self.actions_by_name)
        self._build_centre()
        self._build_docks()
        self._wire_actions()
        self._build_menus()
        self.view_bar = ViewBar(self.actions_by_name, self.state, self.denoise_menu, preferences, self)
        self.addToolBar(self.view_bar)
        self._build_status()
        self.view_actions, self.region_actions = ViewActions(self), RegionActions(self)
        self.noise_actions = NoiseActions(self)
        self._focus = FocusKeeper(self, self.actions_by_name["play"], self.panes.focus)
        self.transport.speed.activated.connect(self.panes.focus)
        session.current_changed.connect(self._on_current)
        session.message.connect(self._tell)
        self._restore_layout()
        self._on_current(session.current)

    # how it is built

    def _build_centre(self) -> None:
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self.panes, 1)
        column.addWidget(self.transport)
        self.setCentralWidget(centre)

    def _build_docks(self) -> None:
        self.strip = LoopStrip(self.session)
        self.strip.close_asked.connect(self.documents.close_loop)
        self.quality, self.regions = QualityPanel(self.session), RegionsPanel(self.session)
        self.noise, self.loop_info = NoisePanel(self.session), LoopPanel(self.session)
        left, right = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea
        self.docks = {
            "loops": self._dock("Loops", self.strip, left),
            "quality": self._dock("Quality", self.quality, right),
            "regions": self._dock("Regions", self.regions, right),
            "noise": self._dock("Noise", self.noise, right),
            "loop": self._dock("Loop", self.loop_info, right),
        }
        self.docks["quality"].setMinimumWidth(DOCK_WIDTH)
        self.setTabPosition(right, QTabWidget.TabPosition.North)
        self.tabifyDockWidget(self.docks["quality"], self.docks["regions"])
        self.tabifyDockWidget(self.docks["regions"], self.docks["noise"])
        self.tabifyDockWidget(self.docks["noise"], self.docks["loop"])
        self.docks["quality"].raise_()
        for name, panel in (("quality", self.quality), ("regions", self.regions), ("noise", self.noise)):
            self.docks[name].visibilityChanged.connect(lambda shown, wake=panel.wake: wake() if shown else None)

    def _dock(self, title: str, widget: QWidget, area: Qt.DockWidgetArea) -> QDockWidget:
        dock = QDockWidget(title, self)
        dock.setObjectName(f"dock_{title.lower()}")
        dock.setAccessibleName(title)
        dock.setWidget(widget)
        self.addDockWidget(area, dock)
        return dock

    def _build_status(self) -> None:
        bar = self.statusBar()
        self.lossy = QLabel()
        self.lossy.setStyleSheet(
            f"color: {theme.WARNING}; border: 1px solid {theme.WARNING}; border-radius: 3px; padding: 0 6px;"
        )
        self.lossy.hide()
        notice = QLabel(NOTICE)
        notice.setStyleSheet(f"color: {theme.TEXT}; padding: 0 8px; font-weight: 600;")
        self.reading = ReadingBar(self.session)
        bar.addPermanentWidget(self.reading)
        bar.addPermanentWidget(self.lossy)
        bar.addPermanentWidget(notice)

    def _build_menus(self) -> None:
        a = self.actions_by_name
        self.recent_menu = QMenu("Open &recent", self)
        self.recent_menu.setToolTipsVisible(True)
        self.recent_menu.aboutToShow.connect(lambda: self.documents.fill_recent(self.recent_menu, a["clear_recent"]))
        file = self.menuBar().addMenu("&File")
        for name in ("open", "open_folder"):
            file.addAction(a[name])
        file.addMenu(self.recent_menu)
        _fill(file, a, "open_sample", "open_phantom", "", "load_regions", "save_regions", "save_regions_as", "")
        _fill(file, a, "export", "batch", "", "close", "quit")
        _fill(self.menuBar().addMenu("&Edit"), a, "undo", "redo", "", "look", "draw_lv", "draw_myocardium", "edit")
        self._build_regions_menu()
        view = self.menuBar().addMenu("&View")
        _fill(
            view, a, "side", "wipe", "blink", "next_target", "difference", "swap", "", "pane_1", "pane_2", "pane_3", ""
        )
        _fill(view, a, "magnify", "fit", "whole", "", "invert", "next_grey_map", "show_regions", "", "full_screen", "")
        for dock in self.docks.values():
            view.addAction(dock.toggleViewAction())
        play = self.menuBar().addMenu("&Play")
        _fill(play, a, "play", "previous", "next", "first", "last", "", "previous_loop", "next_loop", "")
        _fill(play, a, "repeat", "every_frame", "", "slower", "faster", "true_speed", "")
        _fill(play, a, "trim_in", "trim_out", "trim_clear", "one_beat")
        self.denoise_menu = self.menuBar().addMenu("&Denoise")
        self.denoise_menu.setToolTipsVisible(True)
        self.network_group = QActionGroup(self)
        noise = self.menuBar().addMenu("&Noise")
        _fill(noise, a, "encode_noise", "noise_pane", "no_noise", "", "try_channels", "", "noisy_loop", "clean_source")
        _fill(self.menuBar().addMenu("&Help"), a, "shortcuts", "settings_file", "", "about")

    def _build_regions_menu(self) -> None:
        menu, a = self.menuBar().addMenu("&Regions"), self.actions_by_name
        _fill(menu, a, "generate_frame", "generate_loop", "", "copy_next", "leave_out", "follow", "")
        _fill(menu, a, "previous_edited", "next_edited", "")
        shape = menu.addMenu("Select, &move, scale")
        _fill(shape, a, "select_region", "next_point", "previous_point", "insert_point", "")
        _fill(shape, a, "move_left", "move_right", "move_up", "move_down", "", "larger", "smaller")
        _fill(menu, a, "clear_regions", "", "go_ed", "go_es", "mark_ed", "mark_es", "find_marks", "")
        review = menu.addMenu("Re&view")
        _fill(review, a, "review_accepted", "review_corrected", "review_rejected")

    def _wire_actions(self) -> None:
        """Connect the actions that concern files, regions and help; the view's own are in ViewActions."""
        on: dict[str, Callable[[], object]] = {
            "open": self.documents.ask_open,
            "open_folder": self.documents.ask_folder,
            "open_sample": self.documents.open_sample,
            "open_phantom": self.documents.open_phantom,
            "clear_recent": self.preferences.clear_recent,
            "load_regions": self.documents.ask_load_regions,
            "save_regions": self.documents.save_regions,
            "save_regions_as": self.documents.ask_save_regions,
            "export": lambda: self._dialog(ExportDialog(self.session, self)),
            "batch": lambda: self._dialog(BatchDialog(self.session, self)),
            "close": self._close_current,
            "quit": self.close,
            "undo": self.session.undo_group.undo,
            "redo": self.session.undo_group.redo,
            "next_loop": lambda: self.session.step_loop(1),
            "previous_loop": lambda: self.session.step_loop(-1),
            "shortcuts": lambda: self._dialog(ShortcutsDialog(self, MOUSE)),
            "settings_file": lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(settings_path().parent))),
            "about": lambda: self._dialog(AboutDialog(self)),
        }
        for name, act in on.items():
            self.actions_by_name[name].triggered.connect(lambda _=False, run=act: run())
        group, a = self.session.undo_group, self.actions_by_name
        group.canUndoChanged.connect(a["undo"].setEnabled)
        group.canRedoChanged.connect(a["redo"].setEnabled)
        group.undoTextChanged.connect(lambda text: a["undo"].setText(f"&Undo {text}".strip()))
        group.redoTextChanged.connect(lambda text: a["redo"].setText(f"&Redo {text}".strip()))
        a["undo"].setEnabled(False)
        a["redo"].setEnabled(False)

    # what happens

    def _dialog(self, dialog: QWidget) -> None:
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.show()

    def _close_current(self) -> None:
        if self.session.current is not None:
            self.documents.close_loop(self.session.current.loop_id)

    def _on_current(self, opened: OpenedLoop | None) -> None:
        self.setWindowTitle("EchoQ" if opened is None else f"{opened.path.name} – EchoQ")
        for name in ("save_regions", "save_regions_as", "load_regions", "export", "close", "play"):
            self.actions_by_name[name].setEnabled(opened is not None)
        lossy = opened.loop.lossy if opened is not None else ()
        self.lossy.setVisible(bool(lossy))
        self.lossy.setText("Lossy source")
        self.lossy.setToolTip(
            f"Compressed with loss ({', '.join(lossy)}): gCNR may differ from that of the original pixels."
        )
        if opened is not None:
            self.panes.focus()

    def _tell(self, sentence: str) -> None:
        self.statusBar().showMessage(sentence, MESSAGE_MS)

    # drag and drop

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self.documents.dropped(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = self.documents.dropped(event.mimeData())
        event.acceptProposedAction()
        self.documents.open(paths)

    # layout

    def sizeHint(self) -> QSize:
        return FIRST_SIZE

    def reset_layout(self) -> None:
        """Docks at their first places."""
        self.resizeDocks([self.docks["loops"]], [self.strip.sizeHint().width()], Qt.Orientation.Horizontal)
        self.resizeDocks([self.docks["quality"]], [380], Qt.Orientation.Horizontal)

    def _restore_layout(self) -> None:
        geometry, state = self.preferences.layout()
        self.resize(FIRST_SIZE)
        if geometry is not None:
            self.restoreGeometry(geometry)
        if state is None or not self.restoreState(state):
            self.reset_layout()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.panes.focus()

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self.documents.may_leave():
            event.ignore()
            return
        self.player.clock.pause()
        self.preferences.set_layout(self.saveGeometry(), self.saveState())
        self.preferences.sync()
        event.accept()
        self.closed.emit()


MOUSE = (
    ("Enlarge", "Wheel", "Turn the wheel over the picture"),
    ("Move the picture", "Drag, middle button", "With the Look tool any drag moves an enlarged picture"),
    ("Close the region", "Enter, double-click, right-click", "While drawing"),
    ("Take the last point back", "Backspace", "While drawing"),
    ("Add a handle", "Double-click an outline", "While editing"),
    ("Delete a handle or region", "Del", "While editing: what is selected; without a region the frame is left out"),
    ("Scale a region", "Shift+wheel, corners of its box", "While editing: around its middle"),
    ("Move ED or ES", "Drag the mark", "Above the scrub bar, or in the curve of the Quality dock"),
    ("Stop drawing", "Esc", "Drops what is drawn and not closed"),
)


def _fill(menu: QMenu, actions: dict[str, QAction], *names: str) -> None:
    """Actions by name; an empty name is a separator."""
    for name in names:
        if name:
            menu.addAction(actions[name])
        else:
            menu.addSeparator()
