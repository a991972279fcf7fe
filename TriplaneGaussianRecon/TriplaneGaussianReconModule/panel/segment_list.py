"""Which segments take part: a list with check boxes."""
from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

from .check_list import CheckList, Entry


class SegmentList:
    """Shows the segments of a segmentation in a QListWidget, with their names and colours."""

    def __init__(self, widget: qt.QListWidget, label: qt.QLabel, onChanged: Callable[[list[str]], None]) -> None:
        """Take over the widgets; onChanged is called with the ids of the segments that the user leaves out."""
        self._parts, self._list = (widget, label), CheckList(
            widget, lambda: onChanged(self._list.identifiers(isChecked=False)))

    def show(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None, omitted: list[str]) -> None:
        """Show the segments; those in `omitted` are not checked.  Without a segmentation there is no list."""
        entries = [] if segmentationNode is None else _entries(segmentationNode)
        for part in self._parts:
            part.setVisible(bool(entries))
        self._list.show(entries, {entry.identifier for entry in entries} - set(omitted))


def _entries(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[Entry]:
    segmentation = segmentationNode.GetSegmentation()
    found = [(identifier, segmentation.GetSegment(identifier)) for identifier in segmentation.GetSegmentIDs()]
    return [Entry(identifier, segment.GetName(), tuple(segment.GetColor())) for identifier, segment in found]
