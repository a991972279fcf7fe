"""Stand-in for the one widget of CTK that the panel uses.

Looked up in commontk/CTK, Libs/Widgets/ctkCollapsibleButton.h and .cpp.
"""
from __future__ import annotations

from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QAbstractButton, QStyle, QStyleOptionButton, QStylePainter, QWidget


class ctkCollapsibleButton(QAbstractButton):
    """A title with an arrow; a click on the title hides what is below it and shows it again."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self._put_away: list[QWidget] = []
        self.toggled.connect(self._on_toggled)

    def _on_toggled(self, shown: bool) -> None:
        if self.layout() is not None:  # the .ui file collapses before it adds what is inside
            self._show_contents(shown)
        self.contentsCollapsed.emit(not shown)

    def _collapsed(self) -> bool:
        return not self.isChecked()

    def _set_collapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, _collapsed, _set_collapsed, notify=contentsCollapsed)

    def _show_contents(self, shown: bool) -> None:
        if shown:
            for child in self._put_away:
                child.setVisible(True)
            self._put_away = []
        else:
            here = [child for child in self.children() if isinstance(child, QWidget) and not child.isHidden()]
            self._put_away += here
            for child in here:
                child.setVisible(False)
        self.layout().setContentsMargins(9, self._title_height() + 4, 9, 4 if shown else 0)
        self.updateGeometry()

    def _title_height(self) -> int:
        return self.fontMetrics().height() + 8

    def hitButton(self, position) -> bool:
        """Only the title is the button."""
        return bool(position.y() < self._title_height())

    def showEvent(self, event) -> None:
        """Make room for the title, as C++ does on layout."""
        self._show_contents(self.isChecked())
        super().showEvent(event)

    def paintEvent(self, event) -> None:
        """Draw the title."""
        option = QStyleOptionButton()
        option.initFrom(self)
        option.rect.setHeight(self._title_height())
        option.text = ("\u25be " if self.isChecked() else "\u25b8 ") + self.property("text")
        QStylePainter(self).drawControl(QStyle.ControlElement.CE_PushButton, option)
