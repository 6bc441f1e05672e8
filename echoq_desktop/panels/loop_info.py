"""The loop dock: what the file holds, what the denoisers used, and how they are to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from echoq_desktop.noise_work import NOISE
from echoq_desktop.panels.notes import Notes
from echoq_desktop.panels.scrolled import scrolled
from echoq_desktop.theme import MUTED, SPACE, WIDE

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.session import Session

BM3D = "bm3d"
ORIGINAL = "original"
SIGMA_STEPS = 2  # slider steps per grey level
SIGMA_RANGE = (0.5, 60.0)  # grey levels
SETTLE_MS = 350  # after the last move of the slider, before the loop is computed again
DEVICES = (
    ("Automatic", "auto", "The graphics card when there is one, else the processor"),
    ("Processor", "cpu", "Always the processor"),
    ("Graphics card (CUDA)", "cuda", "An NVIDIA card; fails with a message when there is none"),
)
SHORT_SHA = 12
FACT_NAMES = {"sigma": "Noise level", "sha256": "Checksum", "weights_sha256": "Checksum"}


class LoopPanel(QWidget):
    """Content of the loop dock."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.setAccessibleName("Loop")
        self.notes = Notes()
        self.facts = _Facts("Loop facts")
        self.denoisers: dict[str, _Facts] = {}
        self._build()
        session.current_changed.connect(self._show_loop)
        session.facts_changed.connect(self._show_denoisers)
        session.results_changed.connect(self._on_results)
        session.panes_changed.connect(self._show_denoisers)
        session.methods_changed.connect(self._show_denoisers)
        session.settings_changed.connect(self._show_settings)
        self._show_loop(session.current)
        self._show_settings()

    # how it is laid out

    def _build(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setSpacing(WIDE)
        column.addWidget(self.notes)
        column.addWidget(self.facts)
        column.addWidget(self._settings_box())
        self._denoiser_column = QVBoxLayout()
        self._denoiser_column.setSpacing(WIDE)
        column.addLayout(self._denoiser_column)
        column.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scrolled(inside))

    def _settings_box(self) -> QGroupBox:
        box = QGroupBox("Denoising")
        form = QFormLayout(box)
        form.setSpacing(SPACE)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.device = QComboBox()
        self.device.setAccessibleName("Device")
        self.device.setToolTip("Where the denoisers run")
        for place, (text, value, tip) in enumerate(DEVICES):
            self.device.addItem(text, value)
            self.device.setItemData(place, tip, Qt.ItemDataRole.ToolTipRole)
        self.device.activated.connect(self._choose_device)
        self.automatic = QCheckBox("Estimate from the loop")
        self.automatic.setAccessibleName("Estimate BM3D's noise level from the loop")
        self.automatic.setToolTip("BM3D's noise level is estimated for each loop; untick to set it by hand")
        self.automatic.toggled.connect(self._choose_automatic)
        self.sigma = QSlider(Qt.Orientation.Horizontal)
        self.sigma.setAccessibleName("BM3D noise level in grey levels")
        self.sigma.setToolTip("BM3D's noise level: standard deviation in grey levels of 255. More removes more.")
        self.sigma.setRange(*(round(SIGMA_STEPS * level) for level in SIGMA_RANGE))
        self.sigma.setPageStep(5 * SIGMA_STEPS)
        self.sigma.valueChanged.connect(self._slide)
        self.sigma_text = QLabel()
        self.sigma_text.setMinimumWidth(self.fontMetrics().horizontalAdvance("60.0 grey levels"))
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self._set_sigma)
        line = QHBoxLayout()
        line.addWidget(self.sigma, 1)
        line.addWidget(self.sigma_text)
        form.addRow("De&vice", self.device)
        form.addRow("BM3D &noise", self.automatic)
        form.addRow("", line)
        return box

    # what is shown

    def _show_loop(self, opened: OpenedLoop | None) -> None:
        if opened is None:
            self.facts.show_all("Loop", {})
            self.notes.show_all([("No loop is open.", False)])
        else:
            told = {name: text for name, text in opened.summary.items() if not name.startswith("Warning")}
            self.facts.show_all("Loop", {"File": opened.path.name, **told})
            self.notes.show_all(_warnings(opened))
        self._show_denoisers()

    def _on_results(self, _method: str, frames: list[int]) -> None:
        if not frames:  # started again, or failed
            self._show_denoisers()

    def _show_denoisers(self, *_: object) -> None:
        panes = [pane for pane in self.session.panes if pane not in (ORIGINAL, NOISE)]
        for pane in set(self.denoisers) - set(panes):
            self.denoisers.pop(pane).deleteLater()
        for place, pane in enumerate(panes):
            if pane not in self.denoisers:
                self.denoisers[pane] = _Facts(f"{self.session.title_of(pane)} facts")
            self._denoiser_column.insertWidget(place, self.denoisers[pane])
            self.denoisers[pane].show_all(self.session.title_of(pane), self._facts_of(pane))
        self._show_sigma()

    def _facts_of(self, pane: str) -> dict[str, str]:
        missing = self.session.missing(pane)
        if missing:
            return {"State": missing}
        known = self.session.facts(pane)
        if not known:
            return {"State": "waiting for a loop" if self.session.current is None else "getting ready…"}
        return facts_text(known)

    def _show_settings(self) -> None:
        settings = self.session.settings
        for widget in (self.device, self.automatic, self.sigma):
            widget.blockSignals(True)
        self.device.setCurrentIndex(max(0, self.device.findData(settings.device)))
        self.automatic.setChecked(settings.sigma is None)
        self.sigma.setEnabled(settings.sigma is not None)
        if settings.sigma is not None:
            self.sigma.setValue(round(SIGMA_STEPS * settings.sigma))
        for widget in (self.device, self.automatic, self.sigma):
            widget.blockSignals(False)
        self._show_sigma()

    def _show_sigma(self) -> None:
        """The level in words; while it is estimated the slider shows what was found."""
        level = self._estimated()
        if self.automatic.isChecked():
            self.sigma_text.setText("not known yet" if level is None else f"{level:.1f} grey levels")
            if level is not None:
                self.sigma.blockSignals(True)
                self.sigma.setValue(round(SIGMA_STEPS * level))
                self.sigma.blockSignals(False)
        else:
            self.sigma_text.setText(f"{self.sigma.value() / SIGMA_STEPS:.1f} grey levels")

    def _estimated(self) -> float | None:
        found = self.session.facts(BM3D).get("sigma")
        return float(found) if isinstance(found, int | float) else None

    # what a person does

    def _choose_device(self) -> None:
        self.session.set_settings(replace(self.session.settings, device=self.device.currentData()))

    def _choose_automatic(self, automatic: bool) -> None:
        self._settle.stop()
        level = None if automatic else self.sigma.value() / SIGMA_STEPS
        self.session.set_settings(replace(self.session.settings, sigma=level))

    def _slide(self) -> None:
        self._show_sigma()
        self._settle.start()

    def _set_sigma(self) -> None:
        if not self.automatic.isChecked():
            level = self.sigma.value() / SIGMA_STEPS
            self.session.set_settings(replace(self.session.settings, sigma=level))


class _Facts(QGroupBox):
    """A titled list of label and text; texts wrap, and can be selected."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self._form = QFormLayout(self)
        self._form.setVerticalSpacing(4)
        self._form.setHorizontalSpacing(WIDE)
        self._form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        self.shown: dict[str, str] = {}

    def show_all(self, title: str, facts: Mapping[str, str]) -> None:
        """Show these facts under this title; nothing at all when there are none."""
        self.setTitle(title)
        self.setVisible(bool(facts))
        if dict(facts) == self.shown:
            return
        self.shown = dict(facts)
        while self._form.rowCount():
            self._form.removeRow(0)
        for name, text in facts.items():
            label, value = QLabel(name), QLabel(text)
            label.setStyleSheet(f"color: {MUTED};")
            value.setWordWrap(True)
            value.setTextInteractionFlags(
                Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
            )
            value.setAccessibleName(f"{name}: {text}")
            value.setToolTip(text)
            self._form.addRow(label, value)


def facts_text(known: Mapping[str, Any]) -> dict[str, str]:
    """A denoiser's facts for people: checksums shortened, the noise level with its unit, empty ones left out."""
    out = {}
    for key, value in known.items():
        if value is None or value == "":
            continue
        name = FACT_NAMES.get(key, key.replace("_", " ").capitalize())
        if key == "sigma":
            out[name] = f"{float(value):.1f} grey levels"
        elif "sha256" in key:
            out[name] = f"sha256 {str(value)[:SHORT_SHA]}…"
        elif isinstance(value, float):
            out[name] = f"{value:.4g}"
        else:
            out[name] = str(value)
    return out


def _warnings(opened: OpenedLoop) -> list[tuple[str, bool]]:
    out = [(text, True) for text in opened.loop.warnings]
    if opened.loop.lossy:
        history = ", ".join(dict.fromkeys(opened.loop.lossy))
        out.append((f"Lossy history: {history}. Lossy compression can raise gCNR.", True))
    if opened.spacing is None:
        out.append(("No pixel spacing: areas are given in pixels only.", False))
    elif opened.spacing.note:
        out.append((opened.spacing.note, True))
    return out
