"""The one dialogue about Python packages: it asks, shows what the installers say, and says how it ended."""
from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from . import dependencies, installation


class InstallationDialog:
    """Asks for consent to install what is missing, and installs it.

    While it installs it cannot be closed: a broken-off installation leaves Slicer's Python damaged.
    """

    def __init__(self, parent: Any = None) -> None:
        self._succeeded = False
        self.dialog = qt.QDialog(parent or slicer.util.mainWindow())
        self.dialog.windowTitle = _("Triplane Gaussian Reconstruction: Python packages")
        self.dialog.setWindowFlags(self.dialog.windowFlags() & ~qt.Qt.WindowCloseButtonHint)
        self.dialog.minimumWidth = 560
        self.message = qt.QLabel()
        self.message.textFormat = qt.Qt.PlainText
        self.message.wordWrap = True
        self.message.textInteractionFlags = qt.Qt.TextSelectableByMouse
        self.progressBar = qt.QProgressBar()
        self.progressBar.setRange(0, 0)  # how long it takes is unknown
        self.log = qt.QPlainTextEdit()
        self.log.readOnly = True
        self.log.minimumHeight = 220
        self.installButton = self._button(_("Install"), self.install)
        self.copyButton = self._button(_("Copy log"), self.copyLog)
        self.restartButton = self._button(_("Restart Slicer"), slicer.util.restart)
        self.closeButton = self._button(_("Cancel"), self.dialog.reject)
        self._escape = qt.QShortcut(qt.QKeySequence(qt.Qt.Key_Escape), self.dialog)  # taken, so that it does not close
        self._escape.enabled = False
        self._layOut()
        self._ask()

    def run(self) -> bool:
        """Show the dialogue until it is closed; return whether everything is installed."""
        self.dialog.exec()
        self.dialog.deleteLater()
        return self._succeeded

    def install(self) -> None:
        """Install; called by the button, which is the consent."""
        before, loaded = installation.versions(), installation.loadedPackages()
        self._setBusy(True)
        self.message.text = _("Installing. This takes some minutes; Slicer may not respond for a while.")
        try:
            installation.install(self._append)
        except installation.InstallationError as error:
            self._failed(str(error))
        else:
            self._succeeded = True
            self._installed(installation.changed(before, loaded))
        finally:
            self._setBusy(False)

    def copyLog(self) -> None:
        """Put the log onto the clipboard."""
        qt.QApplication.clipboard().setText(self.log.toPlainText())

    def _button(self, text: str, clicked: Any) -> Any:
        button = qt.QPushButton(text)
        button.connect("clicked()", clicked)
        return button

    def _layOut(self) -> None:
        layout = qt.QVBoxLayout(self.dialog)
        buttons = qt.QHBoxLayout()
        for widget in (self.message, self.progressBar, self.log):
            layout.addWidget(widget)
        layout.addLayout(buttons)
        buttons.addWidget(self.copyButton)
        buttons.addStretch(1)
        for button in (self.installButton, self.restartButton, self.closeButton):
            buttons.addWidget(button)
        for widget in (self.progressBar, self.log, self.copyButton, self.restartButton):
            widget.visible = False

    def _ask(self) -> None:
        lines = dependencies.missing()
        if dependencies.torchRequirement() in lines and dependencies.hasNvidiaDriver():
            lines += ["cuda-core", "cuda-bindings"]  # which version follows from torch
        self.message.text = "\n".join([
            _("A reconstruction needs Python packages that are not installed yet. They are downloaded into Slicer's "
              "own Python; other extensions may use them too. Nothing is sent."), "",
            *(f"\N{BULLET} {dependencies.describe(line)}" for line in lines), "",
            _("Install them now?")])

    def _setBusy(self, busy: bool) -> None:
        self.progressBar.visible = busy
        self._escape.enabled = busy
        self.installButton.enabled = self.closeButton.enabled = not busy
        if busy:
            self.log.visible = self.copyButton.visible = True

    def _append(self, line: str) -> None:
        self.log.appendPlainText(line)
        slicer.app.processEvents()

    def _installed(self, replaced: list[str]) -> None:
        """Close, unless there is something to say."""
        notice = dependencies.deviceNotice()
        if not replaced and not notice:
            self.dialog.accept()
            return
        texts = [_("Everything is installed."), notice]
        if replaced:
            texts.append(_("These packages were in use and have changed: {packages}. Restart Slicer before you go on "
                           "with other modules.").format(packages=", ".join(replaced)))
        self.message.text = "\n\n".join(filter(None, texts))
        self.installButton.visible = False
        self.restartButton.visible = bool(replaced)
        self.closeButton.text = _("Later") if replaced else _("Close")

    def _failed(self, reason: str) -> None:
        self.message.text = _("Installing failed. {reason}").format(reason=reason)
        self.installButton.text = _("Try again")
        self.closeButton.text = _("Close")
