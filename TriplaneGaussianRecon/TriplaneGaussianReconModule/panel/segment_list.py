"""Which segments take part: a list with check boxes."""
from __future__ import annotations

from collections.abc import Callable

import qt
import slicer


class SegmentList:
    """Shows the segments of a segmentation in a QListWidget, with their names and colours."""

    def __init__(self, widget: qt.QListWidget, label: qt.QLabel, onChanged: Callable[[list[str]], None]) -> None:
        """Take over the widgets; onChanged is called with the ids of the segments that the user leaves out."""
        self._widget, self._label, self._onChanged = widget, label, onChanged
        self._shown: tuple[object, ...] = ()
        widget.connect("itemChanged(QListWidgetItem*)", self._onItemChanged)

    def show(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None, omitted: list[str]) -> None:
        """Show the segments; those in `omitted` are not checked.  Without a segmentation there is no list."""
        segments = [] if segmentationNode is None else _segments(segmentationNode)
        for part in (self._widget, self._label):
            part.setVisible(bool(segments))
        if (state := (segments, set(omitted))) == self._shown:
            return
        self._shown = state
        blocked = self._widget.blockSignals(True)
        self._widget.clear()
        for identifier, name, color in segments:
            self._widget.addItem(name)  # an item made here would be deleted with its Python object
            item = self._widget.item(self._widget.count - 1)
            item.setData(qt.Qt.UserRole, identifier)
            item.setIcon(_icon(color))
            item.setCheckState(qt.Qt.Unchecked if identifier in omitted else qt.Qt.Checked)
        self._widget.blockSignals(blocked)

    def _onItemChanged(self, item: qt.QListWidgetItem) -> None:
        items = [self._widget.item(row) for row in range(self._widget.count)]
        self._onChanged([each.data(qt.Qt.UserRole) for each in items if each.checkState() != qt.Qt.Checked])


def _segments(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[tuple[str, str, tuple[float, float, float]]]:
    """Identifier, name and colour of each segment."""
    segmentation = segmentationNode.GetSegmentation()
    found = [(identifier, segmentation.GetSegment(identifier)) for identifier in segmentation.GetSegmentIDs()]
    return [(identifier, segment.GetName(), tuple(segment.GetColor())) for identifier, segment in found]


def _icon(color: tuple[float, float, float]) -> qt.QIcon:
    """A square in this colour."""
    square = qt.QPixmap(12, 12)
    square.fill(qt.QColor.fromRgbF(*color))
    return qt.QIcon(square)
