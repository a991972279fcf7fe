"""Further volumes of the same body: a list with check boxes, what is used of each, and what belongs to all."""
from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import InputError

from .. import wording
from ..run.further_settings import FurtherSettings, settingsOf
from ..run.parameters import TriplaneGaussianReconParameterNode, furtherVolumes
from ..scene.nodes import gridOf
from ..scene.tidying import ROLE
from .check_list import CheckList, Entry
from .further_settings import FurtherSettingsView
from .slice_views import worldGrid


class FurtherVolumes:
    """Lists the scans of the scene but the input; the parameter node keeps which are checked."""

    def __init__(self, ui: Any) -> None:
        """Take over the widgets."""
        self._ui, self._list = ui, CheckList(ui.furtherVolumes, self._onChanged, self._showSettings)
        self._settings = FurtherSettingsView(ui)
        self._parameters: TriplaneGaussianReconParameterNode | None = None

    def show(self, parameters: TriplaneGaussianReconParameterNode | None) -> None:
        """Show what can be chosen beside the input, and what is."""
        self._parameters = parameters
        chosen = [] if parameters is None else furtherVolumes(parameters)
        self._list.show([] if parameters is None else [
            Entry(node.GetID(), node.GetName()) for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node in chosen or _isOffered(node, parameters)], {node.GetID() for node in chosen})
        if chosen and self._list.highlighted is None:
            self._list.highlight(chosen[0].GetID())
        self._showSettings()
        for widget in (self._ui.findMotion, self._ui.thicknessLabel, self._ui.thickness, self._ui.profileLabel,
                       self._ui.profile):
            widget.setEnabled(bool(chosen))
        self._ui.furtherPreview.setText("\n".join(
            _meaning(node, settingsOf(parameters, node)) for node in chosen if parameters is not None))
        self._ui.furtherPreview.setVisible(bool(chosen))

    def _showSettings(self) -> None:
        """Show what is used of the volume that is highlighted."""
        identifier = self._list.highlighted
        self._settings.show(self._parameters, None if identifier is None else slicer.mrmlScene.GetNodeByID(identifier))

    def _onChanged(self) -> None:
        if self._parameters is not None:
            self._parameters.furtherVolumes = [
                slicer.mrmlScene.GetNodeByID(identifier) for identifier in self._list.identifiers(isChecked=True)]


def _isOffered(node: slicer.vtkMRMLScalarVolumeNode, parameters: TriplaneGaussianReconParameterNode) -> bool:
    """Whether a node may be another scan: neither the input nor what a run has left, even in a node that was chosen."""
    isResult = node.GetAttribute(ROLE) is not None or node in (parameters.outputVolume, parameters.resultVolume)
    return (node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors() and not isResult
            and node is not parameters.inputVolume)


def _meaning(node: slicer.vtkMRMLScalarVolumeNode, settings: FurtherSettings) -> str:
    """How its slices lie, under its parent transform, and what is used of it."""
    try:
        parts = [wording.axisMeaning(worldGrid(node), gridOf(node).thickest_axis())]
    except InputError as error:
        parts = [str(error)]
    if settings.excludedSlices.strip():
        parts.append(_("Without slices {slices}.").format(slices=settings.excludedSlices.strip()))
    if settings.segmentationNode is not None:
        parts.append(_("Labels: '{name}'.").format(name=settings.segmentationNode.GetName()))
    return _("'{name}': {meaning}").format(name=node.GetName(), meaning=" ".join(parts))
