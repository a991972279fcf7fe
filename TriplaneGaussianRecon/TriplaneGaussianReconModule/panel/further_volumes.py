"""Further volumes of the same body: a list with check boxes, and what belongs to them."""
from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import InputError

from .. import wording
from ..run.parameters import TriplaneGaussianReconParameterNode, furtherVolumes
from ..scene.nodes import gridOf
from .check_list import CheckList, Entry
from .slice_views import worldGrid


class FurtherVolumes:
    """Lists the scalar volumes of the scene but the input; the parameter node keeps which are checked."""

    def __init__(self, ui: Any) -> None:
        """Take over the widgets."""
        self._ui, self._list = ui, CheckList(ui.furtherVolumes, self._onChanged)
        self._parameters: TriplaneGaussianReconParameterNode | None = None

    def show(self, parameters: TriplaneGaussianReconParameterNode | None) -> None:
        """Show what can be chosen beside the input, and what is."""
        self._parameters = parameters
        chosen = [] if parameters is None else furtherVolumes(parameters)
        self._list.show([] if parameters is None else [
            Entry(node.GetID(), node.GetName()) for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if _isOffered(node) and node is not parameters.inputVolume], {node.GetID() for node in chosen})
        for widget in (self._ui.findMotion, self._ui.thicknessLabel, self._ui.thickness, self._ui.profileLabel,
                       self._ui.profile):
            widget.setEnabled(bool(chosen))
        self._ui.furtherPreview.setText("\n".join(map(_meaning, chosen)))
        self._ui.furtherPreview.setVisible(bool(chosen))

    def _onChanged(self) -> None:
        if self._parameters is not None:
            self._parameters.furtherVolumes = [
                slicer.mrmlScene.GetNodeByID(identifier) for identifier in self._list.identifiers(isChecked=True)]


def _isOffered(node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    return node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()


def _meaning(node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """How its slices lie, under its parent transform."""
    try:
        text = wording.axisMeaning(worldGrid(node), gridOf(node).thickest_axis())
    except InputError as error:
        text = str(error)
    return _("'{name}': {meaning}").format(name=node.GetName(), meaning=text)
