"""The one dialogue about Python packages: it asks, shows how far the installation is, and says how it ended."""
from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from . import dependencies, extension, installation, resume, tasks
from .commands import Progress
from .errors import InstallationCancelled, InstallationError
from .extension import ExtensionInstallation
from .installation import Installation
from .tasks import Task


class InstallationDialog:
    """Asks for consent to a task, and does it.

    A download can be cancelled.  While packages are put into Slicer's Python it cannot be closed: a broken-off
    installation leaves that damaged.
    """

    def __init__(self, parent: Any = None, task: Task | None = None) -> None:
        self._task = tasks.install() if task is None else task
        self._needsExtension = self._task.needsTorch and not extension.isLoaded()
        self._succeeded, self._isBusy = False, False
        self._installation: Installation | ExtensionInstallation | None = None
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
        self.installButton = self._button(self._task.button, self.install)
        self.copyButton = self._button(_("Copy log"), self.copyLog)
        self.restartButton = self._button(_("Restart Slicer"), self._restart)
        self.closeButton = self._button(_("Cancel"), self._close)
        self._escape = qt.QShortcut(qt.QKeySequence(qt.Qt.Key_Escape), self.dialog)  # else it closes in any case
        self._escape.connect("activated()", self._close)
        self._layOut()
        self._ask()

    def run(self, goesOn: bool = False) -> bool:
        """Show the dialogue until it is closed; return whether the task is done.

        goesOn: whether consent was given before Slicer was started anew.
        """
        if goesOn and self._needsExtension:
            self.message.text = "\n\n".join([
                _("The extension PyTorch is installed, but was not loaded: View > Error Log says why."),
                self.message.text])
        elif goesOn and not dependencies.obstacle():
            qt.QTimer.singleShot(0, self.install)
        self.dialog.exec()
        self.dialog.deleteLater()
        return self._succeeded

    def install(self) -> None:
        """Start; called by the button, which is the consent."""
        loaded = installation.loadedPackages()

        def onEnd(error: InstallationError | None) -> None:
            self._onEnd(error, loaded)

        if self._needsExtension:
            self._installation = ExtensionInstallation(self.log.appendPlainText, self._show, onEnd)
        else:
            self._installation = Installation(self.log.appendPlainText, self._show, onEnd, groups=self._task.groups)
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
        self.message.text = self._task.question
        if self._needsExtension:
            self.message.text += "\n\n" + _(
                "First of all the extension PyTorch is installed by the Extensions Manager. 3D Slicer has to be "
                "restarted then: save your work before. After that it goes on by itself.")

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

    def _restart(self) -> None:
        """Start Slicer anew, and go on with what has failed."""
        if not self._succeeded:
            resume.keep(self._task.name)
        slicer.util.restart()

    def _onEnd(self, error: InstallationError | None, loaded: set[str]) -> None:
        assert self._installation is not None
        changed, self._installation = self._installation.changed, None
        self._setBusy(False)
        if error is not None:
            self._failed(error, sorted(changed & loaded))
        elif self._needsExtension:
            resume.keep(self._task.name)
            self._tell(_("The extension PyTorch is installed. Restart Slicer: then it goes on by itself."), True)
        else:
            self._succeeded = True
            self._installed(bool(changed), sorted(changed & loaded))

    def _setBusy(self, busy: bool) -> None:
        self._isBusy = busy
        self.progressBar.visible = busy
        self.installButton.enabled = self.restartButton.enabled = not busy
        self.closeButton.enabled = True
        if busy:
            self.closeButton.text = _("Cancel")
            self.log.visible = self.copyButton.visible = True

    def _installed(self, isChanged: bool, replaced: list[str]) -> None:
        """Close, unless there is something to say."""
        notice = dependencies.deviceNotice()
        if self._task.closes and not replaced and not notice:
            self.dialog.accept()
            return
        texts = [self._task.done if isChanged else self._task.nothing, notice]
        if replaced:
            texts.append(_("These packages were in use and have changed: {packages}. Restart Slicer before you go on "
                           "with other modules.").format(packages=", ".join(replaced)))
        self._tell("\n\n".join(filter(None, texts)), bool(replaced))

    def _tell(self, text: str, needsRestart: bool) -> None:
        """Say how it ended."""
        self.message.text = text
        self.installButton.visible = False
        self.restartButton.visible = needsRestart
        self.closeButton.text = _("Later") if needsRestart else _("Close")

    def _failed(self, error: InstallationError, used: list[str]) -> None:
        isCancelled = isinstance(error, InstallationCancelled)
        self.message.text = str(error) if isCancelled else _("Installing failed. {reason}").format(reason=error)
        if used:
            self.message.text += "\n\n" + _(
                "These packages are in use by this Slicer: {packages}. Restart Slicer: then it goes on by itself, "
                "before they are.").format(packages=", ".join(used))
        self.restartButton.visible = bool(used)
        self.installButton.text = _("Go on") if isCancelled else _("Try again")
        self.closeButton.text = _("Close")
