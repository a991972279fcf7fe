#!/usr/bin/env python3
"""Measure what the module leaves behind, and how long it blocks, while Slicer's own views are open and drawn.

    slicer_views.py runs [--count 200]
        reconstruct a small volume with segments and delete the result, again and again: as the panel's users do, by its
        folder or by its nodes, of which some were saved before
    slicer_views.py large [--shape 400,512,512] [--segments 45]
        click on Reconstruct and take over a result of this size, then on Show 3D, Compare, Table and Plot; print how
        long each step keeps the thread of the user interface busy at a stretch. Views are drawn by a processor, twice
        each time: what is drawn for the first time costs more, with a GPU as well

The scene and the views are real, the worker is a stand-in that has its results at once.
"""
from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gui_thread import DRAWING, GuiThread

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "TriplaneGaussianRecon"), str(ROOT / "Testing" / "Python" / "support")]
SMALL = (12, 48, 56)  # voxels [k, j, i] of the small runs
SETTLED = 20  # small runs after which all that is made once has been made
WINDOW = (300, 300)  # pixels of a view
DRAWING_MILLISECONDS = 16  # after something has asked for it: sixty times a second at most


class Views:
    """Red, green and yellow slice views and a 3D view, all of them drawn."""

    def __init__(self, scene: Any) -> None:
        import rendered_views
        import slicer
        import vtk

        application = slicer.modules.application.logic()
        self._logics = vtk.vtkCollection()
        application.SetSliceLogics(self._logics)
        self.views: list[Any] = []
        for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
            node = scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
            node.SetLayoutName(name)
            node.SetOrientation(orientation)
            node.SetDimensions(*WINDOW, 1)
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(application)
            logic.SetMRMLScene(scene)
            logic.SetSliceNode(node)
            self._logics.AddItem(logic)
            self.views.append(rendered_views.RenderedSliceView(node, logic))
        node = scene.AddNewNodeByClass("vtkMRMLViewNode")
        self.views.append(rendered_views.RenderedView(node, rendered_views.THREE_D_MANAGERS, WINDOW))

    def show(self, volume: Any) -> None:
        """Show a volume in the slice views, all of it."""
        for view in self.views[:3]:
            view.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
            view.logic.FitSliceToBackground()

    def draw(self) -> float:
        """Draw all of them; return the seconds that takes."""
        start = time.perf_counter()
        for view in self.views:
            view.pixels()
        return time.perf_counter() - start


class FinishedWorker:
    """Stand-in for the module's WorkerProcess: links the files of a result that was made before into a job's folder."""

    def __init__(self, made: Path) -> None:
        import qt

        self.state, self._made, self._folder = "idle", made, Path()
        self.onFinished: Any = None  # set by whoever it works for, as others that are never called
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._finish)

    def start(self, folder: Path) -> None:
        """Start; the result is there as soon as the event loop has its turn."""
        self.state, self._folder = "running", folder
        self._timer.start(0)

    def kill(self) -> None:
        """There is nothing to end."""

    def _finish(self) -> None:
        for file in self._made.iterdir():
            os.link(file, self._folder / file.name)
        self.state = "idle"
        self.onFinished({"event": "finished"})


def measure_runs(scene: Any, folder: Path, count: int) -> None:
    """Print what is there after some of many runs and deletions, half of them of results that were saved."""
    import mrml
    import psutil
    import slicer
    from stand_in_worker import StandInWorkerProcess
    from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
    from TriplaneGaussianReconModule.scene.results import ROLE

    views, this = Views(scene), psutil.Process()
    voxels = np.random.default_rng(0).integers(0, 1000, SMALL).astype(np.int16)
    volume = mrml.add_volume(voxels, np.diag([1.0, 1.0, 4.0, 1.0]))
    segmentation = mrml.add_segmentation(volume, {"half": voxels > 500, "some": voxels > 900})
    worker: Any = StandInWorkerProcess()
    logic, hierarchy = TriplaneGaussianReconLogic(worker), scene.GetSubjectHierarchyNode()
    views.show(volume)
    print(f"{'runs':>5} {'nodes':>6} {'observers':>10} {'files':>6} {'children':>9} {'descriptors':>12} {'threads':>8} "
          f"{'MB':>6}")
    for number in range(count + 1):
        if number == SETTLED or number % max(count // 10, 1) == 0:
            gc.collect()
            print(f"{number:5} {scene.GetNumberOfNodes():6} {str(scene).count('vtkObserver'):10} "
                  f"{len(list((folder / 'temporary files').rglob('*'))):6} {len(this.children(recursive=True)):9} "
                  f"{this.num_fds():12} {this.num_threads():8} {this.memory_info().rss / 1e6:6.0f}", flush=True)
        results: Any = logic.reconstruct(volume, segmentation, trustedSlices="every:2")
        results.segmentation.CreateClosedSurfaceRepresentation()
        views.show(results.volume)
        views.draw()
        nodes = [node for node in slicer.util.getNodesByClass("vtkMRMLStorableNode") if node.GetAttribute(ROLE)]
        if number % 2:  # as if it had been saved: it has storage nodes
            for node in nodes:
                node.AddDefaultStorageNode()
        if number % 4 < 2:
            hierarchy.RemoveItem(results.folderItemID)
        else:
            for node in nodes:
                scene.RemoveNode(node)
            logic.undo(results)
        views.show(volume)
        views.draw()


class Window:
    """The panel, and the views that the layout shows, drawn when the event loop has its turn after something asked.

    As in the application: looked up in commontk/CTK, Libs/Visualization/VTK/Widgets/ctkVTKAbstractView.cpp,
    scheduleRender, and Slicer's Libs/MRML/Widgets/qMRMLThreeDView.cxx and qMRMLSliceControllerWidget.cxx.
    """

    def __init__(self, widget: Any, thread: GuiThread) -> None:
        import rendered_views
        import slicer

        self.widget, self._thread, self._views, self._timers = widget, thread, list[Any](), list[Any]()
        for name in ("Red", "Green", "Yellow"):
            self.open(name)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLViewNode")
        self.in_3d = rendered_views.RenderedView(node, rendered_views.THREE_D_MANAGERS, WINDOW)
        self._follow(self.in_3d, "3D view")

    def open(self, name: str) -> None:
        """Draw the slice view of this name from now on."""
        import rendered_views
        import slicer
        import vtk

        node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
        node.SetDimensions(*WINDOW, 1)
        view = rendered_views.RenderedSliceView(node, slicer.app.applicationLogic().GetSliceLogic(node))
        ask = self._follow(view, "slice view")
        view.logic.AddObserver(vtk.vtkCommand.ModifiedEvent, ask)
        view.logic.FitSliceToBackground()

    def close(self) -> None:
        """Draw no more."""
        for timer in self._timers:
            timer.stop()
        for view in self._views:
            view.close()

    def _follow(self, view: Any, kind: str) -> Callable[..., None]:
        """Draw a view when it asks for it; returns what asks for it."""
        import qt
        import vtk

        def draw() -> None:
            """Draw twice: what the first time takes beyond the second does not go away with a faster GPU."""
            times = []
            for _ in range(2):
                start, processor = time.perf_counter(), time.thread_time()
                view.pixels()
                times.append((time.perf_counter() - start, time.thread_time() - processor))
            for name, (seconds, of_processor) in (
                    (kind, times[1]), (f"{kind}, what is new", np.subtract(times[0], times[1]).clip(0.0).tolist())):
                self._thread.count(f"{DRAWING}: {name}", seconds, of_processor)

        def ask(*event: Any) -> None:
            if not timer.active:
                timer.start()

        timer = qt.QTimer()
        timer.setSingleShot(True)
        timer.setInterval(DRAWING_MILLISECONDS)
        timer.connect("timeout()", draw)
        view.group.AddObserver(vtk.vtkCommand.UpdateEvent, ask)
        self._views.append(view)
        self._timers.append(timer)
        return ask


def write_large(folder: Path, volume: Any, segments: int) -> None:
    """Write a result on the voxels of a volume: bodies side by side, each a segment, and an error that differs."""
    from stand_in_worker import reportOf
    from TriplaneGaussianReconModule.scene.nodes import gridOf, imageOf

    from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
    from TriplaneGaussianReconLib.jobs.protocol import Outcome

    grid = gridOf(volume)
    names = tuple(Segment(f"segment {n}", n, 0, "", None) for n in range(1, segments + 1))
    plane = np.random.default_rng(1).random(grid.shape[1:], np.float32)
    Outcome(Image(imageOf(volume).array, grid), Image(np.broadcast_to(3 * plane, grid.shape), grid),
            Segmentation(bodies(grid.shape, segments)[None], names, grid),
            reportOf("fast", 0, "k", list(range(0, grid.shape[0], 4)), grid), None).write(folder)


def bodies(shape: tuple[int, ...], count: int) -> np.ndarray:
    """Ellipsoids [k, j, i] side by side, as large as fit in, with the values from 1 to count."""
    labels, rows = np.zeros(shape, np.uint8), 3
    columns = -(-count // rows ** 2)
    cell = (shape[0] // rows, shape[1] // rows, shape[2] // columns)
    k, j, i = np.meshgrid(*((np.arange(n) * 2.0 / n - 1.0) ** 2 for n in cell), indexing="ij", sparse=True)
    for value in range(1, count + 1):
        place = np.unravel_index(value - 1, (rows, rows, columns))
        box = tuple(slice(n * size, (n + 1) * size) for n, size in zip(place, cell, strict=True))
        labels[box][k + j + i < 0.98] = value
    return labels


def add_large(shape: tuple[int, int, int]) -> tuple[Any, Any]:
    """Add a volume of this size, and a segmentation that is drawn on every 4th slice of it."""
    import mrml

    plane = np.random.default_rng(0).integers(0, 1000, shape[1:]).astype(np.int16)
    volume = mrml.add_volume(np.broadcast_to(plane, shape).copy(), np.diag([0.7, 0.7, 0.7, 1.0]))
    small = np.zeros(shape, bool)
    small[::4, 10:20, 10:20] = True
    return volume, mrml.add_segmentation(volume, {"0": small})


def measure_large(folder: Path, shape: tuple[int, int, int], segments: int, patch: Any) -> None:
    """Print how long each step keeps the thread of the user interface busy at a stretch, from click to views."""
    from panel_case import StandInDeviceList, opened_panel
    from TriplaneGaussianReconModule.panel import device_choice, views
    from TriplaneGaussianReconModule.run import surfaces
    from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
    from TriplaneGaussianReconModule.run.parameters import Trust
    from TriplaneGaussianReconModule.run.steps import Steps

    made, thread = folder / "made", GuiThread()
    made.mkdir()
    volume, given = add_large(shape)
    write_large(made, volume, segments)
    patch.setattr(TriplaneGaussianReconLogic.__init__, "__defaults__", (FinishedWorker(made),))
    patch.setattr(device_choice, "DeviceList", StandInDeviceList)
    patch.setattr(surfaces, "_SLOW_SECONDS", float("inf"))  # as with a GPU, although there is none
    print(f"{' x '.join(map(str, shape))} voxels, {segments} segments")
    with opened_panel(patch) as widget:
        widget.ui.inputVolume.setCurrentNode(volume)
        widget.ui.segmentation.setCurrentNode(given)
        parameters = widget.logic.getParameterNode()
        parameters.trust, parameters.everyNth = Trust.EVERY, 4
        views.showEverywhere(volume)
        window = Window(widget, thread)
        bounds = [0.0] * 6
        volume.GetRASBounds(bounds)
        window.in_3d.renderer.ResetCamera(bounds)
        settle(2.0)
        thread.watch(Steps)
        click_through(window, thread)
        window.close()


def click_through(window: Window, thread: GuiThread) -> None:
    """Click on the buttons, one after another, and print what each brought about."""
    from panel_case import click, wait_until
    from slicer_module import Heart
    from TriplaneGaussianReconModule.panel import views

    ui = window.widget.ui
    for name, button, is_over, then in (
            ("Reconstruct", ui.reconstructButton, lambda: not window.widget.logic.isRunning, []),
            ("Show 3D", ui.show3DButton, lambda: "..." not in ui.show3DButton.text, []),
            ("Compare", ui.compareButton, lambda: True, views.COMPARED),
            ("Table", ui.tableButton, lambda: True, []), ("Plot", ui.plotButton, lambda: True, [])):
        thread.steps.clear()
        heart, start = Heart(), time.perf_counter()
        with thread.doing(f"{name}: click"):
            click(button)
        for view in then:
            window.open(view)
        wait_until(is_over, 1000.0)
        seconds = time.perf_counter() - start
        settle(1.0)
        heart.stop()
        print(f"\n{name}: over in {seconds:.1f} s; longest time between two turns of the event loop "
              f"{1000 * heart.longest:.0f} ms\n{thread.table()}", flush=True)


def settle(seconds: float) -> None:
    """Let the event loop go on for a while."""
    import qt

    loop, timer = qt.QEventLoop(), qt.QTimer()
    timer.connect("timeout()", loop.quit)
    timer.start(round(1000 * seconds))
    loop.exec()
    timer.stop()


def main() -> None:
    """Measure one of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("runs").add_argument("--count", type=int, default=200)
    large = commands.add_parser("large")
    large.add_argument("--shape", default="400,512,512")
    large.add_argument("--segments", type=int, default=45)
    given = parser.parse_args()
    import pytest
    from slicer_stand_ins import install

    install()
    import mrml

    with (tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch,
          mrml.opened_scene(Path(name), patch) as scene):
        if given.command == "runs":
            measure_runs(scene, Path(name), given.count)
        else:
            count = [int(each) for each in given.shape.split(",")]
            measure_large(Path(name), (count[0], count[1], count[2]), given.segments, patch)


if __name__ == "__main__":
    main()
