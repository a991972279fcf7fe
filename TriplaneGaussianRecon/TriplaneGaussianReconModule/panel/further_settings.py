"""What is used of the further volume that is highlighted: the slices that are left out, and its labels."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..run.further_settings import FurtherSettings, keepSettings, settingsOf
from ..run.parameters import TriplaneGaussianReconParameterNode, furtherVolumes


class FurtherSettingsView:
    """Shows it below the list of further volumes; the parameter node keeps it for each."""

    def __init__(self, ui: Any) -> None:
        """Take over the widgets."""
        self._ui = ui
        self._parameters: TriplaneGaussianReconParameterNode | None = None
        self._node: slicer.vtkMRMLScalarVolumeNode | None = None  # whose settings can be changed
        ui.furtherExcluded.connect("textEdited(QString)", self._onExcluded)
        ui.furtherSegmentation.connect("currentNodeChanged(vtkMRMLNode*)", self._onSegmentation)

    def show(self, parameters: TriplaneGaussianReconParameterNode | None,
             node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Show what is used of a volume, which can be changed where it is checked; nothing where none is checked."""
        ui, chosen = self._ui, [] if parameters is None else furtherVolumes(parameters)
        self._node = None  # what is shown from here on is no choice of the user
        settings = FurtherSettings() if parameters is None or node is None else settingsOf(parameters, node)
        if ui.furtherExcluded.text != settings.excludedSlices:  # else the cursor would move
            ui.furtherExcluded.setText(settings.excludedSlices)
        ui.furtherSegmentation.setCurrentNode(settings.segmentationNode)
        self._parameters, self._node = parameters, node if node in chosen else None
        for widget in (ui.furtherExcludedLabel, ui.furtherExcluded, ui.furtherSegmentationLabel,
                       ui.furtherSegmentation):
            widget.setVisible(bool(chosen))
            widget.setEnabled(self._node is not None)
        text = _("Of '{name}':") if self._node is not None else _("Of '{name}', which is not used unless checked:")
        ui.furtherOf.setText("" if node is None else text.format(name=node.GetName()))
        ui.furtherOf.setVisible(bool(chosen))

    def _onExcluded(self, text: str) -> None:
        self._change(excludedSlices=text)

    def _onSegmentation(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        self._change(segmentationNode=node)

    def _change(self, **settings: Any) -> None:
        if self._parameters is not None and self._node is not None:
            former = settingsOf(self._parameters, self._node)
            if (changed := replace(former, **settings)) != former:
                keepSettings(self._parameters, self._node, changed)
