"""A list with a check box for each entry."""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import qt


@dataclass(frozen=True)
class Entry:
    """One line: what it stands for, what is read, and the colour of its square, if it has one."""

    identifier: str
    text: str
    color: tuple[float, float, float] | None = None


class CheckList:
    """Shows entries in a QListWidget, and tells when the user checks one, or does not any more."""

    def __init__(self, widget: qt.QListWidget, onChanged: Callable[[], None]) -> None:
        """Take over the widget."""
        self._widget, self._onChanged = widget, onChanged
        self._shown: tuple[object, ...] = ()
        widget.connect("itemChanged(QListWidgetItem*)", self._onItemChanged)

    def show(self, entries: Sequence[Entry], checked: Collection[str]) -> None:
        """Show these entries instead of others; checked: which are, by their identifiers."""
        if (state := (list(entries), set(checked))) == self._shown:
            return
        self._shown = state
        blocked = self._widget.blockSignals(True)
        self._widget.clear()
        for entry in entries:
            self._widget.addItem(entry.text)  # an item made here would be deleted with its Python object
            item = self._widget.item(self._widget.count - 1)
            item.setData(qt.Qt.UserRole, entry.identifier)
            if entry.color is not None:
                item.setIcon(_icon(entry.color))
            item.setCheckState(qt.Qt.Checked if entry.identifier in checked else qt.Qt.Unchecked)
        self._widget.blockSignals(blocked)

    def identifiers(self, isChecked: bool) -> list[str]:
        """Those that are checked, or those that are not, in their order."""
        items = [self._widget.item(row) for row in range(self._widget.count)]
        return [item.data(qt.Qt.UserRole) for item in items if (item.checkState() == qt.Qt.Checked) == isChecked]

    def _onItemChanged(self, item: qt.QListWidgetItem) -> None:
        self._onChanged()


def _icon(color: tuple[float, float, float]) -> qt.QIcon:
    """A square in this colour."""
    square = qt.QPixmap(12, 12)
    square.fill(qt.QColor.fromRgbF(*color))
    return qt.QIcon(square)
