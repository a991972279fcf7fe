#!/usr/bin/env python3
"""Measure what the module leaves behind, and how long it blocks, while Slicer's own views are open and drawn.

    slicer_views.py runs [--count 200]
        reconstruct a small volume with segments and delete the result, again and again: as the panel's users do, by its
        folder or by its nodes, of which some were saved before
    slicer_views.py large [--shape 400,512,512] [--segments 45]
        take over a result of this size, and show it

The scene and the views are real, the worker is a stand-in that has its results at once.
"""
from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "TriplaneGaussianRecon"), str(ROOT / "Testing" / "Python" / "support")]
SMALL = (12, 48, 56)  # voxels [k, j, i] of the small runs
SETTLED = 20  # small runs after which all that is made once has been made
WINDOW = (300, 300)  # pixels of a view


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


def measure_large(scene: Any, folder: Path, shape: tuple[int, int, int], segments: int) -> None:
    """Print how long taking over a large result blocks at most, and how long the first drawing of it takes."""
    import mrml
    from slicer_module import Heart
    from stand_in_worker import reportOf
    from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
    from TriplaneGaussianReconModule.scene.nodes import gridOf

    from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
    from TriplaneGaussianReconLib.jobs.protocol import Outcome

    views, made = Views(scene), folder / "made"
    made.mkdir()
    plane = np.random.default_rng(0).integers(0, 1000, shape[1:]).astype(np.int16)
    labels = np.broadcast_to((np.arange(shape[1])[:, None] * segments // shape[1] + 1).astype(np.uint8), shape).copy()
    labels[..., : shape[2] // 4] = 0
    volume = mrml.add_volume(np.broadcast_to(plane, shape).copy(), np.diag([0.7, 0.7, 0.7, 1.0]))
    small = np.zeros(shape, bool)
    small[::4, 10:20, 10:20] = True
    given = mrml.add_segmentation(volume, {"0": small})
    grid, names = gridOf(volume), tuple(Segment(f"segment {n}", n, 0, "", None) for n in range(1, segments + 1))
    observed = list(range(0, shape[0], 4))
    Outcome(Image(np.broadcast_to(plane, shape), grid), Image(np.full(shape, 3.0, np.float32), grid),
            Segmentation(labels[None], names, grid), reportOf("fast", 0, "k", observed, grid), None).write(made)
    del small, labels
    views.show(volume)
    views.draw()
    worker: Any = FinishedWorker(made)
    logic, heart, start = TriplaneGaussianReconLogic(worker), Heart(), time.perf_counter()
    results: Any = logic.reconstruct(volume, given, trustedSlices="every:4", device="cpu")
    heart.stop()
    seconds = time.perf_counter() - start
    print(f"{' x '.join(map(str, shape))} voxels, {segments} segments: taken over in {seconds:.1f} s; longest "
          f"block {1000 * heart.longest:.0f} ms")
    views.show(results.volume)
    first, second = views.draw(), views.draw()
    print(f"drawn in four views for the first time in {1000 * first:.0f} ms, then in {1000 * second:.0f} ms")


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
            measure_large(scene, Path(name), (count[0], count[1], count[2]), given.segments)


if __name__ == "__main__":
    main()
