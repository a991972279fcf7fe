"""The dialogue "Reconstruct a folder": which volumes, where to, how; then how far it is, and the page of results."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import ReconstructionError

from ..installation import dependencies
from ..run.folder import FolderRun
from ..run.parameters import PresetChoice


def folderButton(layout: Any, run: FolderRun) -> FolderDialog:
    """Add a button to a layout that opens the dialogue; returns the dialogue, which is to be kept."""
    dialog = FolderDialog(run, parent=layout.parentWidget())
    button = qt.QPushButton(_("Reconstruct a folder..."))
    button.toolTip = _("Reconstruct all volumes of a folder, in a process of their own; Slicer can be used meanwhile.")
    button.connect("clicked()", dialog.show)
    layout.addWidget(button)
    return dialog


class FolderDialog:
    """Asks what to do, does it, and can be closed meanwhile."""

    def __init__(self, run: FolderRun, isReady: Callable[[Any], bool] = dependencies.ensure,
                 parent: Any = None) -> None:
        """Prepare it.

        Args:
            run: What does the folder.
            isReady: Sees to it that all packages are there, given a widget; returns whether they are.
            parent: The widget that it belongs to.
        """
        self._run, self._isReady = run, isReady
        run.onProgress, run.onEnd = self._onProgress, self._onEnd
        self.dialog = qt.QDialog(parent)
        self.dialog.windowTitle = _("Reconstruct a folder")
        self.dialog.minimumWidth = 520
        self.source, self.output, self.slices, self.preset = (
            qt.QLineEdit(), qt.QLineEdit(), qt.QLineEdit(), qt.QComboBox())
        self.slices.setPlaceholderText(_("all; or a list such as 0,4,8-20"))
        for choice in PresetChoice:
            self.preset.addItem(choice.label(), choice.value)
        self.preset.setToolTip(PresetChoice.explained())
        self.retry = qt.QCheckBox(_("Try again what has failed before"))
        self.message, self.bar = qt.QLabel(), qt.QProgressBar()
        self.message.textFormat = qt.Qt.PlainText
        self.message.wordWrap = True
        self.bar.visible = False
        self.startButton = self._button(_("Start"), self._onStartOrCancel)
        self.pageButton = self._button(_("Show results"), self._onShowPage)
        self.pageButton.enabled = False
        self._layOut()

    def show(self) -> None:
        """Show it, in front."""
        self.dialog.show()
        self.dialog.activateWindow()

    def close(self) -> None:
        """End what is running, by force."""
        self._run.close()
        self.dialog.deleteLater()

    def options(self) -> Mapping[str, str]:
        """What is passed to the command `cohort`."""
        return {"preset": self.preset.itemData(self.preset.currentIndex), "slices": self.slices.text.strip()}

    def _button(self, text: str, clicked: Callable[[], None]) -> Any:
        button = qt.QPushButton(text)
        button.connect("clicked()", clicked)
        return button

    def _layOut(self) -> None:
        layout, form, buttons = qt.QVBoxLayout(self.dialog), qt.QFormLayout(), qt.QHBoxLayout()
        for title, edit, choose in ((_("Folder with volumes:"), self.source, self._onChooseSource),
                                    (_("Folder for results:"), self.output, self._onChooseOutput)):
            row = qt.QHBoxLayout()
            row.addWidget(edit)
            row.addWidget(self._button(_("Choose..."), choose))
            form.addRow(title, row)
        form.addRow(_("Slices to use:"), self.slices)
        form.addRow(_("Quality:"), self.preset)
        for button in (self.pageButton, self.startButton):
            buttons.addWidget(button)
        layout.addLayout(form)
        for widget in (self.retry, self.bar, self.message):
            layout.addWidget(widget)
        layout.addLayout(buttons)

    def _onChooseSource(self) -> None:
        self._choose(self.source)

    def _onChooseOutput(self) -> None:
        self._choose(self.output)

    def _choose(self, edit: Any) -> None:
        chosen = qt.QFileDialog.getExistingDirectory(self.dialog, _("Choose a folder"), edit.text)
        if chosen:
            edit.text = chosen

    def _onStartOrCancel(self) -> None:
        if self._run.isRunning:
            self._run.cancel()
            return
        if not (self.source.text.strip() and self.output.text.strip()):
            self.message.text = _("Choose both folders first.")
            return
        if not self._isReady(self.dialog):
            return
        try:
            self._run.start(Path(self.source.text.strip()), Path(self.output.text.strip()), self.options(),
                            self.retry.checked)
        except ReconstructionError as error:
            self.message.text = str(error)
            return
        self.message.text = _("Starting. This window can be closed meanwhile.")
        self.bar.setRange(0, 0)
        self._setRunning(True)

    def _onProgress(self, counts: Mapping[str, int]) -> None:
        ended, total = counts.get("done", 0) + counts.get("failed", 0), sum(counts.values())
        if total:
            self.bar.setRange(0, total)
            self.bar.setValue(ended)
            self.message.text = _("{done} done, {failed} failed, of {total}.").format(
                done=counts.get("done", 0), failed=counts.get("failed", 0), total=total)

    def _onEnd(self, problem: str) -> None:
        self._setRunning(False)
        if problem:
            self.message.text = problem

    def _setRunning(self, isRunning: bool) -> None:
        self.bar.visible = isRunning
        self.startButton.text = _("Cancel") if isRunning else _("Start")
        self.pageButton.enabled = not isRunning and self._run.page.is_file()
        for widget in (self.source, self.output, self.slices, self.preset, self.retry):
            widget.enabled = not isRunning

    def _onShowPage(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._run.page)))
