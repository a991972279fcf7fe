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
    """Shows entries in a QListWidget, and tells when the user checks one, or does not any more, or highlights one."""

    def __init__(self, widget: qt.QListWidget, onChanged: Callable[[], None],
                 onHighlighted: Callable[[], None] = lambda: None) -> None:
        """Take over the widget."""
        self._widget, self._onChanged, self._onHighlighted = widget, onChanged, onHighlighted
        self._shown: tuple[object, ...] = ()
        widget.connect("itemChanged(QListWidgetItem*)", self._onItemChanged)
        widget.connect("currentRowChanged(int)", self._onCurrentRowChanged)

    def show(self, entries: Sequence[Entry], checked: Collection[str]) -> None:
        """Show these entries instead of others; checked: which are, by their identifiers.

        What is highlighted stays so.
        """
        if (state := (list(entries), set(checked))) == self._shown:
            return
        self._shown, highlighted = state, self.highlighted
        blocked = self._widget.blockSignals(True)
        self._widget.clear()
        for entry in entries:
            self._widget.addItem(entry.text)  # an item made here would be deleted with its Python object
            item = self._widget.item(self._widget.count - 1)
            item.setData(qt.Qt.UserRole, entry.identifier)
            if entry.color is not None:
                item.setIcon(_icon(entry.color))
            item.setCheckState(qt.Qt.Checked if entry.identifier in checked else qt.Qt.Unchecked)
        self.highlight(highlighted)
        self._widget.blockSignals(blocked)

    @property
    def highlighted(self) -> str | None:
        """The identifier of the entry that is highlighted."""
        item = self._widget.currentItem()
        return None if item is None else item.data(qt.Qt.UserRole)

    def highlight(self, identifier: str | None) -> None:
        """Highlight an entry; none where it is not there."""
        rows = [row for row in range(self._widget.count)
                if self._widget.item(row).data(qt.Qt.UserRole) == identifier]
        self._widget.setCurrentRow(rows[0] if rows else -1)

    def identifiers(self, isChecked: bool) -> list[str]:
        """Those that are checked, or those that are not, in their order."""
        items = [self._widget.item(row) for row in range(self._widget.count)]
        return [item.data(qt.Qt.UserRole) for item in items if (item.checkState() == qt.Qt.Checked) == isChecked]

    def _onItemChanged(self, item: qt.QListWidgetItem) -> None:
        self._shown = (self._shown[0], set(self.identifiers(isChecked=True)))  # so that this item is not made anew
        self.highlight(item.data(qt.Qt.UserRole))  # which Qt 5 does by itself, and Qt 6 does not
        self._onChanged()

    def _onCurrentRowChanged(self, row: int) -> None:
        self._onHighlighted()


def _icon(color: tuple[float, float, float]) -> qt.QIcon:
    """A square in this colour."""
    square = qt.QPixmap(12, 12)
    square.fill(qt.QColor.fromRgbF(*color))
    return qt.QIcon(square)
