"""The choice of what to do with the volume: the rest of the panel shows what belongs to it."""
from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..run.parameters import LabelsOn, TriplaneGaussianReconParameterNode, canLeaveUsedSlices
from ..run.task import CHOICES, Task, taskOf


class TaskChoice:
    """A combo box of tasks, which follows the other choices while the first of them is chosen."""

    def __init__(self, ui: Any) -> None:
        """Take over the widgets."""
        self._ui = ui
        self._parameters: TriplaneGaussianReconParameterNode | None = None
        for task in CHOICES:
            ui.task.addItem(task.label())
        ui.task.connect("activated(int)", self._onActivated)

    def show(self, parameters: TriplaneGaussianReconParameterNode | None, isThinner: bool) -> None:
        """Show what is to be done, and the controls that belong to it; isThinner: whether slices become thinner."""
        self._parameters, ui = parameters, self._ui
        task = Task.THINNER if parameters is None else taskOf(parameters)
        chosen = Task.AUTO if parameters is None else parameters.task
        # Where both are done, filling the segmentation is the smaller part.
        told = Task.THINNER if isThinner and task is Task.FILL and chosen is Task.AUTO else task
        ui.task.setItemText(CHOICES.index(Task.AUTO), _("Automatic: {task}").format(task=told.label()))
        ui.task.setCurrentIndex(CHOICES.index(chosen))
        ui.furtherSection.setVisible(task is Task.COMBINE)
        for widget in (ui.excludedSlicesLabel, ui.excludedSlices, ui.excludeButton):
            widget.setVisible(told.excludesSlices)
        ui.keepUsedSlices.setVisible(parameters is not None and canLeaveUsedSlices(parameters))
        ui.segmentationLabel.setText(_("Segmentation:") if told is Task.FILL else _("Segmentation (optional):"))
        hasLabels = parameters is not None and parameters.segmentation is not None
        labelsOn = parameters.labelsOn if parameters is not None and hasLabels else None
        for widget in (ui.labelsOnLabel, ui.labelsOn):
            widget.setVisible(hasLabels)
        for widget in (ui.emptySlicesLabel, ui.emptySlices, ui.emptyButton):
            widget.setVisible(labelsOn is LabelsOn.DRAWN)
        ui.labelledSlices.setVisible(labelsOn is LabelsOn.LIST)

    def _onActivated(self, row: int) -> None:
        if self._parameters is not None:
            self._parameters.task = CHOICES[row]
            self._ui.furtherSection.collapsed = False
