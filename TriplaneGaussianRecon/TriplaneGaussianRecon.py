"""Module file of 3D Slicer, loaded when the application starts.  Slow imports wait until they are needed."""
from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

from TriplaneGaussianReconModule.effect.registration import registerEffect  # noqa: E402 - needs the path
from TriplaneGaussianReconModule.installation import resume  # noqa: E402
from TriplaneGaussianReconModule.scene.sample_data import registerSampleData  # noqa: E402
from TriplaneGaussianReconModule.scene.tidying import tidyUp  # noqa: E402

if TYPE_CHECKING:
    from TriplaneGaussianReconModule.panel.folder_dialog import FolderDialog
    from TriplaneGaussianReconModule.panel.widget import Panel
    from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
    from TriplaneGaussianReconModule.run.parameters import TriplaneGaussianReconParameterNode
    from TriplaneGaussianReconModule.selftest import TriplaneGaussianReconTest

__all__ = ["TriplaneGaussianRecon", "TriplaneGaussianReconLogic", "TriplaneGaussianReconParameterNode",
           "TriplaneGaussianReconTest", "TriplaneGaussianReconWidget"]

# What is found here by its name, and imported when it is asked for: numpy is not needed while the application starts.
_PLACES = {"TriplaneGaussianReconLogic": "run.logic", "TriplaneGaussianReconParameterNode": "run.parameters",
           "TriplaneGaussianReconTest": "selftest"}
_PACKAGES = ("TriplaneGaussianReconModule", "TriplaneGaussianReconLib")
_ADDRESS = "https://github.com/TriplaneGaussianRecon/SlicerTriplaneGaussianRecon"


def __getattr__(name: str) -> Any:
    """Import one of `_PLACES`."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"TriplaneGaussianReconModule.{_PLACES[name]}"), name)


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
            "press Reconstruct.") + _paragraph(
                f"{_ADDRESS}/blob/main/docs/tutorials/slicer.md", _("Guide: a first try, and every control"))
        parent.acknowledgementText = _(
            "Research software, not a medical device. Not for diagnosis or treatment. Apache License, Version 2.0."
            ) + _paragraph(f"{_ADDRESS}/blob/main/CITATION.cff", _("How to cite it, and the method that it builds on"))
        slicer.app.connect("startupCompleted()", _onStartupCompleted)


def _paragraph(address: str, text: str) -> str:
    """A link, as a paragraph of its own."""
    return f'<p><a href="{address}">{text}</a></p>'


def _onStartupCompleted() -> None:
    """The application is there: offer samples and the effect, look after results in scenes that are loaded, and go on
    with what needed a restart.
    """
    registerSampleData()
    registerEffect()
    tidyUp(slicer.mrmlScene)
    resume.openModule()


class TriplaneGaussianReconWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Connects `widget.Panel` to Slicer's calls and to the scene's events."""

    def __init__(self, parent: Any = None) -> None:
        VTKObservationMixin.__init__(self)
        self.panel: Panel | None = None  # until `setup` has succeeded
        self.folderDialog: FolderDialog | None = None  # likewise
        self._parameterNode: TriplaneGaussianReconParameterNode | None = None
        self._isEntered = False
        ScriptedLoadableModuleWidget.__init__(self, parent)  # without a parent it calls `setup`

    def setup(self) -> None:
        """Make the panel; called when the module is opened for the first time."""
        from TriplaneGaussianReconModule.panel.folder_dialog import folderButton
        from TriplaneGaussianReconModule.panel.widget import Panel
        from TriplaneGaussianReconModule.run.folder import FolderRun
        from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/TriplaneGaussianRecon.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.ui.parameterSet.addAttribute("vtkMRMLScriptedModuleNode", "ModuleName", self.moduleName)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = TriplaneGaussianReconLogic()
        self.panel = Panel(self.ui, self.logic)
        self.folderDialog = folderButton(self.layout, FolderRun())
        tidyUp(slicer.mrmlScene)
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
        if self.panel is not None:
            self.panel.close()
        if self.folderDialog is not None:
            self.folderDialog.close()

    def onReload(self) -> None:
        """Load the module anew, its packages and the library included; a button for developers."""
        for name in [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def enter(self) -> None:
        """The user has opened the module."""
        self._isEntered = True
        if self.panel is not None:
            self.initializeParameterNode()
            self.panel.enter()

    def exit(self) -> None:
        """The user has gone to another module; what is running goes on."""
        self._isEntered = False
        if self.panel is not None:
            self.panel.exit()

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
        if self.panel is not None and not slicer.mrmlScene.IsBatchProcessing():
            self.panel.listVolumes()

    def initializeParameterNode(self) -> None:
        """Show the choices in the scene, making them if need be; if no volume is chosen, take the first."""
        parameters = self._parameterNode
        if parameters is None or parameters.parameterNode.GetScene() is None:
            parameters = self._ownParameterNode()
            self.setParameterNode(parameters)
        if parameters.inputVolume is None:
            parameters.inputVolume = next((node for node in slicer.util.getNodesByClass(
                "vtkMRMLScalarVolumeNode") if node.GetClassName() == "vtkMRMLScalarVolumeNode"), None)

    def _ownParameterNode(self) -> TriplaneGaussianReconParameterNode:
        """The choices in the scene; new ones begin with what is remembered of other sessions."""
        from TriplaneGaussianReconModule.run.remembered import recall

        parameters = self.logic.getParameterNode()
        recall(parameters)
        return parameters

    def setParameterNode(self, parameterNode: TriplaneGaussianReconParameterNode | None) -> None:
        """Show these choices, or none."""
        if self._parameterNode is not None:
            self.removeObserver(self._parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onModified)
        self._parameterNode = parameterNode
        if self.panel is not None:
            self.panel.setParameters(parameterNode)
        if parameterNode is not None:
            self.ui.parameterSet.setCurrentNode(parameterNode.parameterNode)
            # After the wrapper, which keeps values of its own: VTK promises no order among equals.
            self.addObserver(parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onModified, priority=-1.0)

    def _onModified(self, caller: Any, event: str) -> None:
        # In a batch, nodes that are chosen may not be there yet.
        if self.panel is not None and not slicer.mrmlScene.IsBatchProcessing():
            self.panel.update()

    def _onParameterSetChosen(self, node: slicer.vtkMRMLScriptedModuleNode | None) -> None:
        if slicer.mrmlScene.IsBatchProcessing() or not self._isEntered:
            return
        if node is None:
            self.setParameterNode(self.logic.getParameterNode())
        elif self._parameterNode is None or node is not self._parameterNode.parameterNode:
            from TriplaneGaussianReconModule.run.parameters import TriplaneGaussianReconParameterNode

            self.setParameterNode(TriplaneGaussianReconParameterNode(node))
