"""What Slicer finds in the module's file, and the module's life: start, opening, reload, end."""
from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from panel_case import MODULE, moving, opened_panel
from repository import ROOT
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.panel.widget import Panel
from TriplaneGaussianReconModule.scene.tidying import ROLE

PACKAGES = ("TriplaneGaussianReconModule", "TriplaneGaussianReconLib")


def test_the_application_starts_without_what_is_slow_to_load() -> None:
    code = ("import slicer_stand_ins; slicer_stand_ins.install(); import slicer, sys; sys.modules['numpy'] = None; "
            "import TriplaneGaussianRecon; "
            "print([name for name in ('torch', 'numba', 'scipy', 'cv2', 'SimpleITK') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={
        **os.environ, "PYTHONPATH": f"{ROOT / 'Testing/Python/support'}{os.pathsep}{MODULE.parent}"})
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["TriplaneGaussianRecon", "TriplaneGaussianReconWidget", "TriplaneGaussianReconLogic",
                                  "TriplaneGaussianReconParameterNode", "TriplaneGaussianReconTest"])
def test_classes_are_found_by_their_names(scene: Any, name: str) -> None:
    import TriplaneGaussianRecon as module

    assert getattr(module, name).__name__ == name and name in module.__all__
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        module.Nothing  # noqa: B018


def started(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[bool]]:
    """The module as Slicer makes it at start; and whether samples were registered."""
    import TriplaneGaussianRecon as module

    registered: list[bool] = []
    monkeypatch.setattr(module, "registerSampleData", lambda: registered.append(True))
    parent = SimpleNamespace(path=str(MODULE))
    module.TriplaneGaussianRecon(parent)
    return parent, registered


def test_slicer_is_told_about_the_module(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, registered = started(monkeypatch)
    assert parent.categories == ["Tomographic Reconstruction"] and "not a medical device" in parent.acknowledgementText
    assert not registered  # only once the application is there
    slicer.app.startupCompleted.emit()
    assert registered == [True]


def test_guide_and_citation_are_linked(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, _ = started(monkeypatch)
    for text, file in ((parent.helpText, "docs/tutorials/slicer.md"), (parent.acknowledgementText, "CITATION.cff")):
        assert f'/blob/main/{file}">' in text and (ROOT / file).is_file()


def result_of_another_session(scene: Any) -> tuple[Any, Any]:
    """A result as a loaded scene holds it, and its display node."""
    node = mrml.add_volume(np.zeros((2, 3, 4), np.uint8))
    node.SetAttribute(ROLE, "volume")
    node.CreateDefaultDisplayNodes()
    return node, node.GetDisplayNode()


def test_a_result_of_another_session_goes_with_what_belongs_to_it(widget: Any) -> None:
    node, display = result_of_another_session(slicer.mrmlScene)
    slicer.mrmlScene.RemoveNode(node)
    assert display.GetScene() is None


def test_so_it_does_where_the_module_was_never_opened(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened_panel(monkeypatch):  # for the application; the scene of that panel is another one
        other = slicer.vtkMRMLScene()
        monkeypatch.setattr(slicer, "mrmlScene", other)
        started(monkeypatch)
        slicer.app.startupCompleted.emit()
        node, display = result_of_another_session(other)
        other.RemoveNode(node)
        assert display.GetScene() is None
        monkeypatch.setattr(slicer, "mrmlScene", scene)


def test_a_panel_that_could_not_be_made_does_not_stand_in_the_way(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Panel, "__init__", fail)
    broken = type(widget)(widget.parent)
    with pytest.raises(RuntimeError, match="broken"):
        broken.setup()
    broken.enter()
    mrml.add_volume(moving()[0])
    slicer.mrmlScene.Clear()
    broken.exit()
    broken.cleanup()


def test_reload_loads_the_packages_anew(widget: Any, process: StandInWorkerProcess, monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    mine = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES}
    for name, module in mine.items():
        monkeypatch.setitem(sys.modules, name, module)  # so that they are there again afterwards
    loaded: list[ModuleType] = []

    def load(name: str) -> None:
        """As `slicer.util` does, but for the new widget."""
        specification = importlib.util.spec_from_file_location(name, MODULE)
        assert specification is not None and specification.loader is not None
        loaded.append(importlib.util.module_from_spec(specification))
        specification.loader.exec_module(loaded[-1])

    monkeypatch.setattr(slicer.util, "reloadScriptedModule", load)
    former = type(widget.logic)
    widget.onReload()
    assert loaded[0].TriplaneGaussianReconLogic is not former
    assert sys.modules["TriplaneGaussianReconModule.run.logic"] is not mine["TriplaneGaussianReconModule.run.logic"]
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
