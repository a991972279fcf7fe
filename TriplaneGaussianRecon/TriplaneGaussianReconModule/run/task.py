"""What the user wants to have done: which of the choices belong to it, and which it is where nobody has said so."""
from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.request import Plan

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

    @property
    def fillsLabels(self) -> bool:
        """Whether it can be said which slices carry labels; otherwise those on which something is drawn do."""
        return self in (Task.FILL, Task.COMBINE)


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


def checkTask(parameters: TriplaneGaussianReconParameterNode, usesAll: bool, hasFurther: bool) -> None:
    """Raise InputError where that lacks which it is about; usesAll: whether all slices are used that are not excluded.

    hasFurther: Whether there are volumes to combine with.
    """
    task = taskOf(parameters)
    if task is Task.FILL and parameters.segmentation is None:
        raise InputError(_("Choose the segmentation that is to be filled."))
    if task is Task.COMBINE and not hasFurther:
        raise InputError(_("Check at least one further volume of the same body."))
    if task is Task.REPLACE and usesAll and not parameters.excludedSlices.strip():
        raise InputError(_("Say which slices are bad: show each in a slice view and press 'Exclude current slice'."))


def checkRegion(parameters: TriplaneGaussianReconParameterNode, plan: Plan) -> None:
    """Raise InputError where bad slices are to be replaced, and none of them is in the region; plan: what follows."""
    isIn = plan.region is None or set(plan.slices(plan.axis)) - set(plan.selections[plan.axis].indices)
    if taskOf(parameters) is Task.REPLACE and not isIn:
        raise InputError(_("No excluded slice lies in the region. Move the region to one, or choose the whole volume."))
