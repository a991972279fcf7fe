"""What the user wants to have done: which of the choices belong to it, and which it is where nobody has said so."""
from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from .parameters import TriplaneGaussianReconParameterNode


class Task(Enum):
    """What to do with a volume."""

    AUTO = "auto"
    THINNER = "thinner"
    REPLACE = "replace"
    FILL = "fill"
    COMBINE = "combine"

    def label(self) -> str:
        """What the panel calls it; `AUTO` is shown with what it comes to."""
        return {
            Task.AUTO: _("Automatic"),
            Task.THINNER: _("Make slices thinner"),
            Task.REPLACE: _("Replace bad slices"),
            Task.FILL: _("Fill a segmentation"),
            Task.COMBINE: _("Combine volumes"),
        }[self]

    @property
    def excludesSlices(self) -> bool:
        """Whether slices can be left out one by one."""
        return self is not Task.THINNER


CHOICES = (Task.AUTO, Task.THINNER, Task.REPLACE, Task.FILL, Task.COMBINE)


def taskOf(parameters: TriplaneGaussianReconParameterNode) -> Task:
    """What is to be done: what was chosen or, where nothing was, what the other choices are good for."""
    if parameters.task is not Task.AUTO:
        return parameters.task
    if any(node is not None and node.GetScene() is not None and node is not parameters.inputVolume
           for node in parameters.furtherVolumes):
        return Task.COMBINE
    if parameters.segmentation is not None:
        return Task.FILL
    return Task.REPLACE if parameters.excludedSlices.strip() else Task.THINNER
