"""The one dialogue about Python packages: it asks, shows how far the installation is, and says how it ended."""
from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from . import dependencies, installation
from .commands import Progress
from .installation import Installation, InstallationCancelled, InstallationError


class InstallationDialog:
    """Asks for consent to install what is missing, and installs it.

    A download can be cancelled.  While packages are put into Slicer's Python it cannot be closed: a broken-off
    installation leaves that damaged.
    """

    def __init__(self, parent: Any = None) -> None:
        self._succeeded, self._isBusy = False, False
        self._installation: Installation | None = None
        self.dialog = qt.QDialog(parent or slicer.util.mainWindow())
        self.dialog.windowTitle = _("Triplane Gaussian Reconstruction: Python packages")
        self.dialog.setWindowFlags(self.dialog.windowFlags() & ~qt.Qt.WindowCloseButtonHint)
        self.dialog.minimumWidth = 560
        self.message = qt.QLabel()
        self.message.textFormat = qt.Qt.PlainText
        self.message.wordWrap = True
        self.message.textInteractionFlags = qt.Qt.TextSelectableByMouse
        self.progressBar = qt.QProgressBar()
        self.log = qt.QPlainTextEdit()
        self.log.readOnly = True
        self.log.minimumHeight = 220
        self.installButton = self._button(_("Install"), self.install)
        self.copyButton = self._button(_("Copy log"), self.copyLog)
        self.restartButton = self._button(_("Restart Slicer"), slicer.util.restart)
        self.closeButton = self._button(_("Cancel"), self._close)
        self._escape = qt.QShortcut(qt.QKeySequence(qt.Qt.Key_Escape), self.dialog)  # else it closes in any case
        self._escape.connect("activated()", self._close)
        self._layOut()
        self._ask()

    def run(self) -> bool:
        """Show the dialogue until it is closed; return whether everything is installed."""
        self.dialog.exec()
        self.dialog.deleteLater()
        return self._succeeded

    def install(self) -> None:
        """Start installing; called by the button, which is the consent."""
        before, loaded = installation.versions(), installation.loadedPackages()
        self._installation = Installation(self.log.appendPlainText, self._show,
                                          lambda error: self._onEnd(error, before, loaded))
        self._setBusy(True)
        self._installation.start()

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
        if obstacle := dependencies.obstacle():
            self.message.text = obstacle
            self.installButton.visible = False
            self.closeButton.text = _("Close")
            return
        lines = dependencies.missing()
        if dependencies.torchRequirement() in lines and dependencies.hasNvidiaDriver():
            lines += ["cuda-core", "cuda-bindings"]  # which version follows from torch
        self.message.text = "\n".join([
            _("A reconstruction needs Python packages that are not installed yet. They are downloaded into Slicer's "
              "own Python; other extensions may use them too. Nothing is sent."), "",
            *(f"\N{BULLET} {dependencies.describe(line)}" for line in lines), "",
            _("Install them now?")])

    def _show(self, progress: Progress) -> None:
        """Show how far the installation is."""
        assert self._installation is not None
        self.message.text = str(progress)
        self.progressBar.setRange(0, 1000 if progress.total else 0)  # without an end it says that something goes on
        self.progressBar.setValue(1000 * progress.received // max(progress.total, 1))
        self.closeButton.enabled = self._installation.canBeCancelled

    def _close(self) -> None:
        """Cancel what is going on, if that does no damage; else close."""
        if self._isBusy and self._installation is not None:
            self._installation.cancel()
        else:
            self.dialog.reject()

    def _onEnd(self, error: InstallationError | None, before: dict[str, str], loaded: set[str]) -> None:
        self._setBusy(False)
        self._installation = None
        if error is None:
            self._succeeded = True
            self._installed(installation.changed(before, loaded))
        else:
            self._failed(error)

    def _setBusy(self, busy: bool) -> None:
        self._isBusy = busy
        self.progressBar.visible = busy
        self.installButton.enabled = not busy
        self.closeButton.enabled = True
        if busy:
            self.closeButton.text = _("Cancel")
            self.log.visible = self.copyButton.visible = True

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

    def _failed(self, error: InstallationError) -> None:
        isCancelled = isinstance(error, InstallationCancelled)
        self.message.text = str(error) if isCancelled else _("Installing failed. {reason}").format(reason=error)
        self.installButton.text = _("Go on") if isCancelled else _("Try again")
        self.closeButton.text = _("Close")
