"""Colours, spacing and the style of the window: calm and dark, so that the echo is the brightest thing on it."""

from __future__ import annotations

from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication, QStyleFactory

WINDOW = "#16191d"  # behind everything
PANEL = "#1d2126"  # docks, bars
RAISED = "#282d34"  # buttons, fields
RAISED_HOVER = "#343a43"
LINE = "#30363e"
TEXT = "#dfe3e8"
MUTED = "#98a2ae"
FAINT = "#5d6672"
ACCENT = "#4ba3e3"
ACCENT_DARK = "#24567c"
WARNING = "#e8b04b"
ERROR = "#ef6f6c"
GOOD = "#6cc08b"
IMAGE = "#000000"  # behind the echo itself

LV = "#4fd0e8"
MYOCARDIUM = "#f2a65a"
PANE_COLOURS = {
    "original": "#c9ced6",
    "fast": "#7fd08f",
    "unet": "#7fd08f",
    "pairs": "#7fd08f",
    "bm3d": "#c79bf2",
}

SPACE = 6  # pixels between things that belong together
WIDE = 12  # between groups
RADIUS = 4


def pane_colour(pane: str) -> QColor:
    """The colour that stands for a pane in curves, titles and the computed-frames bar."""
    return QColor(PANE_COLOURS.get(pane, ACCENT))


def apply(app: QApplication) -> None:
    """Give the whole application the dark theme."""
    app.setStyle(QStyleFactory.create("Fusion"))
    app.setPalette(palette())
    app.setStyleSheet(STYLE)


def palette() -> QPalette:
    """The theme's QPalette."""
    made = QPalette()
    role = QPalette.ColorRole
    for key, colour in {
        role.Window: PANEL,
        role.WindowText: TEXT,
        role.Base: WINDOW,
        role.AlternateBase: PANEL,
        role.ToolTipBase: RAISED,
        role.ToolTipText: TEXT,
        role.PlaceholderText: FAINT,
        role.Text: TEXT,
        role.Button: RAISED,
        role.ButtonText: TEXT,
        role.BrightText: ERROR,
        role.Link: ACCENT,
        role.LinkVisited: ACCENT,
        role.Highlight: ACCENT_DARK,
        role.HighlightedText: "#ffffff",
        role.Accent: ACCENT,
        role.Light: RAISED_HOVER,
        role.Midlight: RAISED,
        role.Mid: LINE,
        role.Dark: WINDOW,
        role.Shadow: "#000000",
    }.items():
        made.setColor(key, QColor(colour))
    for key in (role.WindowText, role.Text, role.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, key, QColor(FAINT))
    made.setColor(QPalette.ColorGroup.Disabled, role.Highlight, QColor(LINE))
    return made


STYLE = f"""
QMainWindow, QMainWindow::separator {{ background: {WINDOW}; }}
QMainWindow::separator {{ width: 5px; height: 5px; }}
QMainWindow::separator:hover {{ background: {ACCENT_DARK}; }}
QMenuBar {{ background: {WINDOW}; padding: 2px 4px; }}
QMenuBar::item {{ padding: 4px 9px; border-radius: {RADIUS}px; background: transparent; }}
QMenuBar::item:selected {{ background: {RAISED_HOVER}; }}
QMenu {{ background: {RAISED}; border: 1px solid {LINE}; padding: 4px; }}
QMenu::item {{ padding: 5px 26px 5px 12px; border-radius: 3px; }}
QMenu::item:selected {{ background: {ACCENT_DARK}; }}
QMenu::item:disabled {{ color: {FAINT}; }}
QMenu::separator {{ height: 1px; background: {LINE}; margin: 4px 8px; }}
QMenu::icon {{ padding-left: 8px; }}
QToolTip {{ background: {RAISED}; color: {TEXT}; border: 1px solid {LINE}; padding: 4px; }}
QToolBar {{ background: {PANEL}; border: none; border-bottom: 1px solid {LINE}; padding: 3px 6px; spacing: 3px; }}
QToolBarExtension {{ background: {RAISED}; border-radius: {RADIUS}px; min-width: 16px; }}
QToolButton {{ background: transparent; border: 1px solid transparent; border-radius: {RADIUS}px; padding: 4px 6px; }}
QToolButton:hover {{ background: {RAISED_HOVER}; }}
QToolButton:pressed, QToolButton:checked {{ background: {ACCENT_DARK}; border-color: {ACCENT}; }}
QToolButton:focus {{ border-color: {ACCENT}; }}
QToolButton:disabled {{ color: {FAINT}; }}
QToolButton[popupMode="2"] {{ padding-right: 16px; }}
QToolButton::menu-indicator {{ subcontrol-position: right center; right: 4px; }}
QPushButton {{ background: {RAISED}; border: 1px solid {LINE}; border-radius: {RADIUS}px; padding: 4px 12px; }}
QPushButton:hover {{ background: {RAISED_HOVER}; }}
QPushButton:pressed, QPushButton:checked {{ background: {ACCENT_DARK}; border-color: {ACCENT}; }}
QPushButton:focus {{ border-color: {ACCENT}; }}
QPushButton:disabled {{ color: {FAINT}; background: {PANEL}; }}
QDockWidget {{ color: {MUTED}; font-weight: 600; titlebar-close-icon: none; titlebar-normal-icon: none; }}
QDockWidget::title {{ background: {PANEL}; padding: 6px 10px; border-bottom: 1px solid {LINE}; }}
QTabBar::tab {{ background: {WINDOW}; color: {MUTED}; padding: 6px 14px; border: none; }}
QTabBar::tab:selected {{ background: {PANEL}; color: {TEXT}; border-bottom: 2px solid {ACCENT}; }}
QTabBar::tab:hover {{ color: {TEXT}; }}
QStatusBar {{ background: {WINDOW}; color: {MUTED}; }}
QStatusBar::item {{ border: none; }}
QListWidget {{ background: {PANEL}; border: none; outline: none; }}
QListWidget::item {{ padding: 5px; border-radius: {RADIUS}px; color: {TEXT}; }}
QListWidget::item:selected {{ background: {ACCENT_DARK}; color: #ffffff; }}
QListWidget::item:hover:!selected {{ background: {RAISED}; }}
QHeaderView::section {{ background: {PANEL}; color: {MUTED}; border: none; padding: 4px 6px; }}
QComboBox, QSpinBox, QDoubleSpinBox, QLineEdit {{ background: {RAISED}; border: 1px solid {LINE};
  border-radius: {RADIUS}px; padding: 3px 7px; selection-background-color: {ACCENT_DARK}; }}
QComboBox:hover, QSpinBox:hover, QDoubleSpinBox:hover {{ background: {RAISED_HOVER}; }}
QComboBox:focus, QSpinBox:focus, QDoubleSpinBox:focus, QLineEdit:focus {{ border-color: {ACCENT}; }}
QComboBox QAbstractItemView {{ background: {RAISED}; border: 1px solid {LINE}; outline: none; }}
QCheckBox::indicator:unchecked, QGroupBox::indicator:unchecked {{ width: 13px; height: 13px; background: {RAISED};
  border: 1px solid {FAINT}; border-radius: 3px; }}
QRadioButton::indicator:unchecked {{ width: 12px; height: 12px; background: {RAISED}; border: 1px solid {FAINT};
  border-radius: 7px; }}
QCheckBox::indicator:unchecked:hover, QRadioButton::indicator:unchecked:hover {{ background: {RAISED_HOVER}; }}
QCheckBox::indicator:unchecked:disabled, QRadioButton::indicator:unchecked:disabled {{ border-color: {LINE}; }}
QScrollBar:vertical {{ background: transparent; width: 10px; }}
QScrollBar:horizontal {{ background: transparent; height: 10px; }}
QScrollBar::handle {{ background: {RAISED_HOVER}; border-radius: 4px; min-height: 24px; min-width: 24px; margin: 1px; }}
QScrollBar::handle:hover {{ background: {FAINT}; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
QSlider::groove:horizontal {{ height: 4px; background: {RAISED_HOVER}; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {ACCENT}; border-radius: 2px; }}
QSlider::sub-page:horizontal:disabled {{ background: {LINE}; }}
QSlider::handle:horizontal {{ width: 12px; height: 12px; margin: -4px 0; border-radius: 6px; background: {TEXT}; }}
QSlider::handle:horizontal:disabled {{ background: {FAINT}; }}
QSlider::handle:horizontal:focus {{ background: #ffffff; border: 2px solid {ACCENT}; width: 10px; height: 10px; }}
QProgressBar {{ background: {RAISED}; border: none; border-radius: 3px; text-align: center; color: {TEXT}; }}
QProgressBar::chunk {{ background: {ACCENT_DARK}; border-radius: 3px; }}
"""
