"""Module file of 3D Slicer, loaded when the application starts.  Slow imports wait until they are needed."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

# Installed, the library lies beside this file.  In the source it is one folder up, which Slicer does not search.
_SOURCE = Path(__file__).resolve().parents[1]
if (_SOURCE / "TriplaneGaussianReconLib").is_dir() and str(_SOURCE) not in sys.path:
    sys.path.append(str(_SOURCE))

from TriplaneGaussianReconModule.panel.widget import Panel  # noqa: E402
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic  # noqa: E402 - needs the path
from TriplaneGaussianReconModule.run.parameters import TriplaneGaussianReconParameterNode  # noqa: E402
from TriplaneGaussianReconModule.scene.sample_data import registerSampleData  # noqa: E402
from TriplaneGaussianReconModule.selftest import TriplaneGaussianReconTest  # noqa: E402

__all__ = ["TriplaneGaussianRecon", "TriplaneGaussianReconLogic", "TriplaneGaussianReconParameterNode",
           "TriplaneGaussianReconTest", "TriplaneGaussianReconWidget"]


class TriplaneGaussianRecon(ScriptedLoadableModule):
    """What Slicer shows about the module."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        parent.title = _("Triplane Gaussian Reconstruction")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Tomographic Reconstruction")]
        parent.dependencies = ["Segmentations", "Volumes", "Plots", "Tables", "Sequences"]
        parent.contributors = ["TriplaneGaussianRecon contributors"]
        parent.helpText = _(
            "Turns sparse, thick or partly unusable slices into a dense volume and a dense segmentation, and says how "
            "far to trust them. For ultrasound, MR and CT. Choose a volume, say which of its slices to use, and "
            "press Reconstruct.")
        parent.acknowledgementText = _(
            "Research software, not a medical device. Not for diagnosis or treatment. Apache License, Version 2.0.")
        slicer.app.connect("startupCompleted()", registerSampleData)


class TriplaneGaussianReconWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Connects `widget.Panel` to Slicer's calls and to the scene's events."""

    def __init__(self, parent: Any = None) -> None:
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)  # without a parent it calls `setup`

    def setup(self) -> None:
        """Make the panel; called when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/TriplaneGaussianRecon.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.ui.parameterSet.addAttribute("vtkMRMLScriptedModuleNode", "ModuleName", self.moduleName)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = TriplaneGaussianReconLogic()
        self.panel = Panel(self.ui, self.logic)
        self._parameterNode: TriplaneGaussianReconParameterNode | None = None
        self._isEntered = False
        for event, react in ((slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose),
                             (slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose),
                             (slicer.mrmlScene.EndImportEvent, self.onSceneEndImport),
                             (slicer.mrmlScene.NodeAddedEvent, self.onNodesChanged),
                             (slicer.mrmlScene.NodeRemovedEvent, self.onNodesChanged)):
            self.addObserver(slicer.mrmlScene, event, react)
        self.ui.parameterSet.connect("currentNodeChanged(vtkMRMLNode*)", self._onParameterSetChosen)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Drop everything; called when the module is unloaded or Slicer closes."""
        self.setParameterNode(None)
        self.removeObservers()
        self.panel.close()

    def enter(self) -> None:
        """The user has opened the module."""
        self._isEntered = True
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self) -> None:
        """The user has gone to another module; what is running goes on."""
        self._isEntered = False

    def onSceneStartClose(self, caller: Any, event: str) -> None:
        """The scene is about to be closed: drop its nodes."""
        self.setParameterNode(None)

    def onSceneEndClose(self, caller: Any, event: str) -> None:
        """The scene has been closed: show new choices if the panel is open."""
        if self._isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller: Any, event: str) -> None:
        """A scene has been loaded: show the choices that were saved with it, if the panel is open.

        They are shown anew, since widgets that were shown earlier did not find their nodes yet.
        """
        self.setParameterNode(self.logic.getParameterNode() if self._isEntered else None)

    def onNodesChanged(self, caller: Any, event: str) -> None:
        """A node has come or gone: list the volumes anew."""
        if not slicer.mrmlScene.IsBatchProcessing():
            self.panel.listVolumes()

    def initializeParameterNode(self) -> None:
        """Show the choices in the scene, making them if need be; if no volume is chosen, take the first."""
        parameters = self._parameterNode
        if parameters is None or parameters.parameterNode.GetScene() is None:
            parameters = self.logic.getParameterNode()
            self.setParameterNode(parameters)
        if parameters.inputVolume is None:
            parameters.inputVolume = next((node for node in slicer.util.getNodesByClass(
                "vtkMRMLScalarVolumeNode") if node.GetClassName() == "vtkMRMLScalarVolumeNode"), None)

    def setParameterNode(self, parameterNode: TriplaneGaussianReconParameterNode | None) -> None:
        """Show these choices, or none."""
        if self._parameterNode is not None:
            self.removeObserver(self._parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onModified)
        self._parameterNode = parameterNode
        self.panel.setParameters(parameterNode)
        if parameterNode is not None:
            self.ui.parameterSet.setCurrentNode(parameterNode.parameterNode)
            # After the wrapper, which keeps values of its own: VTK promises no order among equals.
            self.addObserver(parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onModified, priority=-1.0)

    def _onModified(self, caller: Any, event: str) -> None:
        if not slicer.mrmlScene.IsBatchProcessing():  # or nodes that are chosen may not be there yet
            self.panel.update()

    def _onParameterSetChosen(self, node: slicer.vtkMRMLScriptedModuleNode | None) -> None:
        if slicer.mrmlScene.IsBatchProcessing() or not self._isEntered:
            return
        if node is None:
            self.setParameterNode(self.logic.getParameterNode())
        elif self._parameterNode is None or node is not self._parameterNode.parameterNode:
            self.setParameterNode(TriplaneGaussianReconParameterNode(node))
