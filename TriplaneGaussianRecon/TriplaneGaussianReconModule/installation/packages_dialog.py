"""The dialogue "Python packages": which are there, in which version, whether they work; repairs and upgrades them."""
from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from . import installation, packages, tasks
from .checking import Check
from .dialog import InstallationDialog
from .packages import Package, State
from .tasks import Task


class PackagesDialog:
    """Shows a table at once, and what a process that imports the packages finds out, a few seconds later."""

    def __init__(self, parent: Any = None) -> None:
        self.packages: list[Package] = []
        self._goesOn = ""
        self._check = Check(self._onChecked)
        self.dialog = qt.QDialog(parent or slicer.util.mainWindow())
        self.dialog.windowTitle = _("Triplane Gaussian Reconstruction: Python packages")
        self.dialog.resize(900, 420)
        self.message = qt.QLabel()
        self.message.textFormat = qt.Qt.PlainText
        self.message.wordWrap = True
        self.table = qt.QTableWidget(0, 5)
        self.copyButton = self._button(_("Copy"), self.copy, _(
            "Copy the list as a text, such as a report of a fault wants."))
        self.repairButton = self._button(_("Repair..."), self.repair, _(
            "Download and install what is missing, too old or damaged. You are asked before."))
        self.upgradeButton = self._button(_("Upgrade..."), self.upgrade, _(
            "Download and install the newest versions that fit. You are asked before."))
        self.closeButton = self._button(_("Close"), self.dialog.accept, "")
        self.closeButton.setDefault(True)
        self._layOut()

    def run(self, goesOn: str = "") -> None:
        """Show it until it is closed.

        Args:
            goesOn: The name of the task to which consent was given before Slicer was started anew.
        """
        self._goesOn = goesOn
        self.look()
        self.dialog.exec()
        self._check.close()
        self.dialog.deleteLater()

    def look(self) -> None:
        """Show what is there, and find out whether it works."""
        self.message.text = _("Looking whether each can be imported; this takes some seconds...")
        self.repairButton.enabled = self.upgradeButton.enabled = False
        self._show(self._check.start(), isChecked=False)

    def tell(self, found: list[Package]) -> None:
        """Say what was found out."""
        self._show(found, isChecked=True)
        wrong = [package.name for package in found if package.state is not State.PRESENT]
        self.message.text = _("Missing, too old or damaged: {packages}.").format(
            packages=", ".join(wrong)) if wrong else _("Everything is there and can be imported.")
        if used := sorted(installation.loadedPackages() & {package.installed for package in found}):
            self.message.text += "\n" + _(
                "In use by this Slicer, so that a change of it takes a restart: {packages}.").format(
                    packages=", ".join(used))
        self.repairButton.enabled = bool(wrong)
        self.upgradeButton.enabled = True

    def repair(self) -> None:
        """Ask, and install what is missing, too old or damaged."""
        self._do(tasks.repair(self.packages))

    def upgrade(self) -> None:
        """Ask, and install the newest versions that are allowed."""
        self._do(tasks.upgrade())

    def copy(self) -> None:
        """Put the list onto the clipboard."""
        qt.QApplication.clipboard().setText(packages.text(self.packages))

    def _do(self, task: Task, goesOn: bool = False) -> None:
        InstallationDialog(self.dialog, task).run(goesOn)
        self.look()

    def _button(self, text: str, clicked: Any, toolTip: str) -> Any:
        button = qt.QPushButton(text)
        button.toolTip = toolTip
        button.connect("clicked()", clicked)
        return button

    def _layOut(self) -> None:
        self.table.setHorizontalHeaderLabels([_("Package"), _("For what"), _("Installed"), _("Required"), _("State")])
        self.table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.table.setSelectionMode(qt.QAbstractItemView.NoSelection)
        self.table.setFocusPolicy(qt.Qt.NoFocus)
        self.table.verticalHeader().setVisible(False)
        self.table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        self.table.horizontalHeader().setStretchLastSection(True)
        layout, buttons = qt.QVBoxLayout(self.dialog), qt.QHBoxLayout()
        layout.addWidget(self.message)
        layout.addWidget(self.table)
        layout.addLayout(buttons)
        buttons.addWidget(self.copyButton)
        buttons.addStretch(1)
        for button in (self.repairButton, self.upgradeButton, self.closeButton):
            buttons.addWidget(button)

    def _show(self, found: list[Package], isChecked: bool) -> None:
        """Show the table."""
        self.packages = found
        self.table.setRowCount(len(found))
        for row, package in enumerate(found):
            isOther = package.installed not in ("", package.name)
            state = package.state.label() if isChecked or package.state is not State.PRESENT else _("looking...")
            for column, text in enumerate((
                    package.name, packages.purpose(package),
                    f"{package.installed} {package.version}" if isOther else package.version,
                    package.required or _("any"), ": ".join(filter(None, (state, package.reason))))):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                self.table.setItem(row, column, item)
        for column in range(self.table.columnCount - 1):
            self.table.resizeColumnToContents(column)

    def _onChecked(self, found: list[Package]) -> None:
        self.tell(found)
        goesOn, self._goesOn = self._goesOn, ""
        if goesOn == tasks.REPAIR and self.repairButton.enabled:
            self._do(tasks.repair(found), goesOn=True)
        elif goesOn == tasks.UPGRADE:
            self._do(tasks.upgrade(), goesOn=True)
