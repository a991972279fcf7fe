"""The choice of the volume: what was chosen for another one is not meant for it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import InputError

from ..run.parameters import LabelsOn, TriplaneGaussianReconParameterNode, Trust, furtherVolumes
from ..scene.belonging import drawnOn, isResampled, segmentationOf


class InputChoice:
    """The selector of the volume, and a note on the segmentation.

    Only what the user chooses in the selector counts: a script, or a scene that is loaded, says itself what it wants.
    Then the parameter node knows the volume before the selector does, with the user it is the other way round.
    """

    def __init__(self, ui: Any, parameters: Callable[[], TriplaneGaussianReconParameterNode | None]) -> None:
        """Take over the widgets, before they are connected with a parameter node; parameters: tells the choices."""
        self._ui, self._parameters = ui, parameters
        ui.inputVolume.connect("currentNodeChanged(vtkMRMLNode*)", self._onVolume)

    def note(self) -> str:
        """What is to be known of the segmentation."""
        parameters = self._parameters()
        if parameters is None or parameters.inputVolume is None or parameters.segmentation is None:
            return ""
        try:
            if not isResampled(parameters.segmentation, parameters.inputVolume):
                return ""
        except InputError:  # which the button says
            return ""
        drawn = drawnOn(parameters.segmentation)
        if drawn is None or drawn is parameters.inputVolume:
            return _("Lies on other voxels than this volume: it is resampled.")
        return _("Drawn on '{name}', not on this volume: it is resampled.").format(name=drawn.GetName())

    def _onVolume(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        parameters = self._parameters()
        if node is None or parameters is None or node is parameters.inputVolume:
            return
        with slicer.util.NodeModify(parameters):
            _begin(parameters, node)


def _begin(parameters: TriplaneGaussianReconParameterNode, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Choose a volume, and nothing that was chosen for another one; volumes of the same body stay together."""
    if volume not in furtherVolumes(parameters):
        parameters.furtherVolumes = []
    segmentation = segmentationOf(volume, parameters.segmentation)
    if segmentation is not parameters.segmentation:
        parameters.segmentation, parameters.omittedSegmentIDs = segmentation, []
    parameters.inputVolume = volume
    parameters.excludedSlices = parameters.emptySlices = parameters.sliceList = parameters.labelledSlices = ""
    if parameters.trust is Trust.LIST:
        parameters.trust = Trust.ALL
    if parameters.labelsOn is LabelsOn.LIST:
        parameters.labelsOn = LabelsOn.DRAWN
    parameters.region = parameters.outputVolume = parameters.outputSegmentation = None
