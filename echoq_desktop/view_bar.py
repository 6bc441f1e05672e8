"""The bar above the panes: tools, compare modes, strength, which panes, how they look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSlider,
    QToolBar,
    QToolButton,
    QWidget,
    QWidgetAction,
)

from echoq_desktop import icons, theme
from echoq_desktop.player.view import GAMMA, GREY_MAPS

if TYPE_CHECKING:
    from echoq_desktop.player.view import ViewState
    from echoq_desktop.preferences import Preferences

GAMMA_STEPS = 20  # slider steps per 1.0 of gamma
ROOM_FOR_WORDS = 1520  # pixels of width
WITH_TEXT = Qt.ToolButtonStyle.ToolButtonTextBesideIcon


class ViewBar(QToolBar):
    """Toolbar; every button is an action with its key and tooltip."""

    def __init__(
        self,
        actions: Mapping[str, QAction],
        state: ViewState,
        denoise_menu: QMenu,
        preferences: Preferences,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Tools", parent)
        self.setObjectName("view_bar")
        self.setMovable(False)
        self.setIconSize(QSize(20, 20))
        self._state = state
        self._roomy: list[QToolButton] = []  # buttons that show words too where there is room
        short = {"look": "Look", "draw_lv": "LV", "draw_myocardium": "Myocardium", "edit": "Edit"}
        short["generate_loop"] = "Generate"
        groups = (
            ("look", "draw_lv", "draw_myocardium", "edit", "generate_loop"),
            ("undo", "redo"),
            ("side", "wipe", "blink"),
            ("difference", "swap", "magnify"),
        )
        for group in groups:
            for name in group:
                self.addAction(actions[name])
                button = self.widgetForAction(actions[name])
                assert isinstance(button, QToolButton)
                button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
                button.setAccessibleName(actions[name].text().replace("&", ""))
                if name in short:
                    actions[name].setIconText(short[name])
                    self._roomy.append(button)
            self._divide()
        self._add_strength()
        self._divide()
        for number in (1, 2, 3):
            self.addAction(actions[f"pane_{number}"])
            button = self.widgetForAction(actions[f"pane_{number}"])
            assert isinstance(button, QToolButton)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._divide()
        self.addWidget(_menu_button("Denoise", "denoise", "Which network, BM3D's noise level", denoise_menu))
        self.looks = LooksMenu(actions, state, preferences, self)
        self.addWidget(_menu_button("Display", "display", "Grey map, gamma, black and white", self.looks))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """On a narrow screen the icons must do."""
        style = WITH_TEXT if self.width() >= ROOM_FOR_WORDS else Qt.ToolButtonStyle.ToolButtonIconOnly
        for button in self._roomy:
            button.setToolButtonStyle(style)
        super().resizeEvent(event)

    def _divide(self) -> None:
        """A thin line between groups."""
        line = QFrame()
        line.setFixedSize(1 + theme.SPACE, 22)
        line.setStyleSheet(f"QFrame {{ background: {theme.LINE}; margin: 0 {theme.SPACE // 2}px; }}")
        self.addWidget(line)

    def _add_strength(self) -> None:
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(theme.SPACE, 0, theme.SPACE, 0)
        row.setSpacing(theme.SPACE)
        row.setSizeConstraint(QHBoxLayout.SizeConstraint.SetFixedSize)
        label, self._percent = QLabel("Blend"), QLabel("100 %")
        self.strength = QSlider(Qt.Orientation.Horizontal)
        self.strength.setRange(0, 100)
        self.strength.setValue(100)
        self.strength.setPageStep(10)
        self.strength.setFixedWidth(90)
        self.strength.setAccessibleName("Blend of original and denoised in percent")
        self.strength.setToolTip("Shows a blend: 0 % original, 100 % denoised. Figures and exports stay at 100 %.")
        self.strength.valueChanged.connect(self._on_strength)
        self._percent.setFixedWidth(self._percent.fontMetrics().horizontalAdvance("100 %") + 2)
        for widget in (label, self.strength, self._percent):
            row.addWidget(widget)
        self.addWidget(holder)

    def _on_strength(self, percent: int) -> None:
        self._percent.setText(f"{percent} %")
        self._state.set(strength=percent / 100.0)


class LooksMenu(QMenu):
    """Grey map, gamma and inversion: for the eye only, never for a metric; remembered."""

    def __init__(
        self, actions: Mapping[str, QAction], state: ViewState, preferences: Preferences, parent: QWidget
    ) -> None:
        super().__init__("&Display", parent)
        self._state, self._preferences = state, preferences
        self.grey_map = QComboBox()
        self.grey_map.addItems(GREY_MAPS)
        self.grey_map.setAccessibleName("Grey map")
        self.grey_map.setToolTip("How grey levels are shown; figures are not touched")
        self.gamma = QSlider(Qt.Orientation.Horizontal)
        self.gamma.setRange(*(round(limit * GAMMA_STEPS) for limit in GAMMA))
        self.gamma.setAccessibleName("Gamma")
        self.gamma.setToolTip("Brightens (above 1) or darkens the middle greys; figures are not touched")
        self._value = QLabel()
        self._value.setFixedWidth(self._value.fontMetrics().horizontalAdvance("0.00 "))
        reset = QPushButton("As acquired")
        reset.setToolTip("Undo grey map, gamma and inversion")
        holder = QWidget()
        form = QFormLayout(holder)
        form.setContentsMargins(theme.WIDE, theme.SPACE, theme.WIDE, theme.SPACE)
        row = QHBoxLayout()
        row.addWidget(self.gamma)
        row.addWidget(self._value)
        form.addRow("Grey map", self.grey_map)
        form.addRow("Gamma", row)
        form.addRow("", reset)
        panel = QWidgetAction(self)
        panel.setDefaultWidget(holder)
        self.addAction(panel)
        self.addSeparator()
        self.addAction(actions["invert"])
        self.addAction(actions["show_regions"])
        state.set(
            grey_map=preferences.text("looks/grey_map", GREY_MAPS[0], GREY_MAPS),
            gamma=preferences.number("looks/gamma", 1.0, *GAMMA),
        )
        self.grey_map.activated.connect(lambda row: self._state.set(grey_map=GREY_MAPS[row]))
        self.gamma.valueChanged.connect(lambda value: self._state.set(gamma=value / GAMMA_STEPS))
        reset.clicked.connect(self.reset)
        state.changed.connect(self._follow)
        self._follow()

    def reset(self) -> None:
        """Show the pictures as they were acquired."""
        self._state.set(grey_map=GREY_MAPS[0], gamma=1.0, invert=False)

    def next_grey_map(self) -> None:
        """The next grey map of the list."""
        here = GREY_MAPS.index(self._state.view.grey_map)
        self._state.set(grey_map=GREY_MAPS[(here + 1) % len(GREY_MAPS)])

    def _follow(self) -> None:
        view = self._state.view
        if self._value.text() == f"{view.gamma:.2f}" and self.grey_map.currentText() == view.grey_map:
            return
        self.grey_map.setCurrentText(view.grey_map)
        self.gamma.setValue(round(view.gamma * GAMMA_STEPS))
        self._value.setText(f"{view.gamma:.2f}")
        self._preferences.store("looks/grey_map", view.grey_map)
        self._preferences.store("looks/gamma", view.gamma)


def _menu_button(text: str, icon: str, tip: str, menu: QMenu) -> QToolButton:
    made = QToolButton()
    made.setText(text)
    made.setIcon(icons.icon(icon))
    made.setToolButtonStyle(WITH_TEXT)
    made.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    made.setToolTip(tip)
    made.setAccessibleName(text)
    made.setMenu(menu)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return made
