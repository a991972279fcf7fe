"""Surfaces that a process makes are those that Slicer makes, and whatever else comes of it leaves nothing behind."""
from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import psutil
import pytest
import rendered_views
import slicer
from panel_case import wait_until
from TriplaneGaussianReconModule.run import surfaces
from TriplaneGaussianReconModule.run.surfaces import SurfaceMaking
from TriplaneGaussianReconModule.scene.surfaces import CLOSED_SURFACE, hasSurfaces
from vtk.util.numpy_support import vtk_to_numpy

from TriplaneGaussianReconLib.errors import Cancelled

SHAPE = (12, 22, 24)
# As `surface_worker.py`, but it writes what can be told from Slicer's: triangles of the size of all labels.
A_TRIANGLE_EACH = """
import json, sys
import numpy as np
folder = sys.argv[1]
size = np.load(folder + "/layer_0.npy").sum()
for layer in json.load(open(folder + "/layers.json"))["layers"]:
    for number in layer["segments"]:
        for name, array in (("points", size * np.eye(3)), ("offsets", [0, 3]), ("connectivity", [0, 1, 2])):
            np.save(f"{folder}/surface_{number}_{name}.npy", np.array(array))
        print(number, flush=True)
"""


@pytest.fixture
def ended() -> list[Exception | None]:
    """How each start ended."""
    return []


@pytest.fixture
def make(scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: list[Exception | None]
         ) -> Callable[..., SurfaceMaking]:
    """Something that makes surfaces, by a program that is given instead of the real one."""
    def made(program: str | None = None, on_progress: Callable[[int, int], None] = lambda *_: None) -> SurfaceMaking:
        if program is not None:
            (tmp_path / "worker.py").write_text(program)
            monkeypatch.setattr(surfaces, "_WORKER", str(tmp_path / "worker.py"))
        return SurfaceMaking(on_progress, ended.append, sys.executable)

    return made


def segmented() -> Any:
    """A segmentation in an oblique volume: two segments that touch its border and overlap, and an empty one."""
    volume, masks = mrml.add_volume(np.zeros(SHAPE, np.int16)), {name: np.zeros(SHAPE, bool) for name in "abc"}
    masks["a"][:, 3:9, 4:12] = True
    masks["b"][2:7, 6:, 8:15] = True
    masks["a"][5, 5, 5] = False
    return mrml.add_segmentation(volume, masks)


def labels_drawn(node: Any, value: int = 1) -> None:
    """Draw on a segment, as the Segment Editor does: its label map is told to be modified."""
    labelmap = node.GetSegmentation().GetSegmentRepresentation("a", "Binary labelmap")
    vtk_to_numpy(labelmap.GetPointData().GetScalars())[:40] = value
    labelmap.Modified()


def arrays_of(surface: Any) -> list[np.ndarray]:
    """Points, triangles and normals; nothing of a surface without points."""
    if not surface.GetNumberOfPoints():
        return []
    cells = surface.GetPolys()
    return [vtk_to_numpy(each) for each in (surface.GetPoints().GetData(), cells.GetOffsetsArray(),
                                            cells.GetConnectivityArray(), surface.GetPointData().GetNormals())]


def by_slicer(node: Any) -> list[list[np.ndarray]]:
    """The arrays of the surfaces that Slicer makes of the labels that a node has now."""
    alone = slicer.vtkSegmentation()
    alone.DeepCopy(node.GetSegmentation())
    alone.RemoveRepresentation(CLOSED_SURFACE)
    assert alone.CreateRepresentation(CLOSED_SURFACE)
    return surfaces_in(alone)


def surfaces_in(segmentation: Any) -> list[list[np.ndarray]]:
    return [arrays_of(segmentation.GetSegmentRepresentation(name, CLOSED_SURFACE))
            for name in segmentation.GetSegmentIDs()]


def nothing_is_left(node: Any) -> bool:
    return not hasSurfaces(node.GetSegmentation()) and nothing_is_going_on()


def nothing_is_going_on() -> bool:
    return not list(Path(slicer.app.temporaryPath).iterdir()) and not is_at_work()


def is_at_work() -> bool:
    """Whether a process makes surfaces."""
    return any(surfaces._WORKER in each.cmdline() for each in psutil.Process().children())


@pytest.mark.parametrize("parameters", [{}, {"Smoothing factor": "0.2", "Decimation factor": "0.4"}])
def test_surfaces_are_to_the_bit_those_that_slicer_makes(make: Callable[..., SurfaceMaking], ended: list[Any],
                                                         parameters: dict[str, str]) -> None:
    node, told = segmented(), list[tuple[int, int]]()
    for name, value in parameters.items():
        node.GetSegmentation().SetConversionParameter(name, value)
    assert parameters or node.GetSegmentation().GetConversionParameter("Smoothing factor") == "0.5"
    make(on_progress=lambda *progress: told.append(progress)).start(node)
    wait_until(lambda: ended)
    assert ended == [None] and told == [(0, 3), (1, 3), (2, 3)]
    found, wanted = surfaces_in(node.GetSegmentation()), by_slicer(node)
    assert [len(each) for each in found] == [4, 4, 0]
    for mine, slicers in zip(found, wanted, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(mine, slicers, strict=True))
    assert nothing_is_going_on()


def test_nothing_is_converted_in_the_application(make: Callable[..., SurfaceMaking], ended: list[Any]) -> None:
    """What the process wrote is what the segments have, and what is drawn, though a 3D view asks for surfaces."""
    node = segmented()
    with rendered_views.three_d_view() as view:
        make(A_TRIANGLE_EACH).start(node)
        wait_until(lambda: ended)
        view.renderer.ResetCamera()
        assert view.pixels().any()
    for name in node.GetSegmentation().GetSegmentIDs():
        surface = node.GetSegmentation().GetSegmentRepresentation(name, CLOSED_SURFACE)
        assert (surface.GetNumberOfPoints(), surface.GetNumberOfPolys()) == (3, 1)
    assert ended == [None] and node.GetSegmentation().CreateRepresentation(CLOSED_SURFACE)
    assert node.GetSegmentation().GetSegmentRepresentation("a", CLOSED_SURFACE).GetNumberOfPolys() == 1


def test_what_is_drawn_later_makes_surfaces_be_made_anew(make: Callable[..., SurfaceMaking], ended: list[Any]) -> None:
    node = segmented()
    make(A_TRIANGLE_EACH).start(node)
    wait_until(lambda: ended)
    labels_drawn(node)
    assert not hasSurfaces(node.GetSegmentation())
    assert node.GetSegmentation().CreateRepresentation(CLOSED_SURFACE)
    for mine, slicers in zip(surfaces_in(node.GetSegmentation()), by_slicer(node), strict=True):
        assert all(np.array_equal(*pair) for pair in zip(mine, slicers, strict=True))


def test_what_is_drawn_meanwhile_is_in_the_surfaces(make: Callable[..., SurfaceMaking], ended: list[Any]) -> None:
    node, told = segmented(), list[int]()

    def draw(done: int, count: int) -> None:
        told.append(done)
        if len(told) == 2:
            labels_drawn(node)

    make(A_TRIANGLE_EACH, draw).start(node)
    wait_until(lambda: ended)
    assert ended == [None] and told == [0, 1, 2, 0, 1, 2]
    labels = node.GetSegmentation().GetSegmentRepresentation("a", "Binary labelmap").GetPointData().GetScalars()
    surface = node.GetSegmentation().GetSegmentRepresentation("a", CLOSED_SURFACE)
    assert surface.GetBounds() == (0.0, vtk_to_numpy(labels).sum()) * 3


@pytest.mark.parametrize("why", ["no Slicer in the process", "joint smoothing"])
def test_the_application_makes_them_where_the_process_cannot(make: Callable[..., SurfaceMaking], ended: list[Any],
                                                             why: str) -> None:
    node = segmented()
    if why == "joint smoothing":
        node.GetSegmentation().SetConversionParameter("Joint smoothing", "1")
    make("raise SystemExit(3)" if why == "no Slicer in the process" else "raise SystemExit(1)").start(node)
    wait_until(lambda: ended)
    assert ended == [None] and hasSurfaces(node.GetSegmentation()) and nothing_is_going_on()


def test_a_process_that_fails_is_told_and_leaves_nothing(make: Callable[..., SurfaceMaking], ended: list[Any]) -> None:
    node = segmented()
    make("raise SystemExit('There is no room.')").start(node)
    wait_until(lambda: ended)
    assert str(ended[0]) == "There is no room." and nothing_is_left(node)


@pytest.mark.parametrize("how", ["cancelled", "removed"])
def test_surfaces_that_are_not_wanted_any_more_leave_nothing(make: Callable[..., SurfaceMaking], ended: list[Any],
                                                             how: str) -> None:
    node = segmented()
    making = make("import time\nprint(0, flush=True)\ntime.sleep(600)" if how == "cancelled" else A_TRIANGLE_EACH)
    making.start(node)
    if how == "cancelled":
        wait_until(is_at_work)
        making.cancel()
    else:
        slicer.mrmlScene.RemoveNode(node)
    wait_until(lambda: ended)
    assert len(ended) == 1 and isinstance(ended[0], Cancelled) and nothing_is_left(node)
    assert making.node is None


def test_they_can_be_made_again(make: Callable[..., SurfaceMaking], ended: list[Any]) -> None:
    node, making = segmented(), make(A_TRIANGLE_EACH)
    for count in (1, 2):
        making.start(node)
        wait_until(lambda count=count: len(ended) == count)
        assert ended[-1] is None and hasSurfaces(node.GetSegmentation()) and nothing_is_going_on()
        node.GetSegmentation().RemoveRepresentation(CLOSED_SURFACE)


@pytest.mark.parametrize(("slow", "is_cancelled"), [(0.0, False), (1000.0, False), (1000.0, True)])
def test_segments_are_visible_afterwards_as_they_were_before(
        make: Callable[..., SurfaceMaking], ended: list[Any], monkeypatch: pytest.MonkeyPatch, slow: float,
        is_cancelled: bool) -> None:
    """They are shown a few at a time, which may be broken off, or is not worth while."""
    monkeypatch.setattr(surfaces, "_TRIANGLES_AT_A_TIME", 1)
    monkeypatch.setattr(surfaces, "_SLOW_SECONDS", slow)
    node, making, seen = segmented(), make(A_TRIANGLE_EACH), list[list[bool]]()
    display = node.GetDisplayNode()
    display.SetSegmentVisibility3D("b", False)

    def see(*event: Any) -> None:
        seen.append([display.GetSegmentVisibility3D(name) for name in "abc"])
        if is_cancelled and hasSurfaces(node.GetSegmentation()):
            making.cancel()

    display.AddObserver("ModifiedEvent", see)
    making.start(node)
    wait_until(lambda: ended)
    assert seen == [[False, False, False], [True, False, False], [True, False, True]]
    assert hasSurfaces(node.GetSegmentation()) == (not is_cancelled)
