"""The slice that a view shows is excluded, or counts as empty."""
from __future__ import annotations

from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from panel_case import add_scan, choose, click, cut_through, plane_of, read, red, transformed, type_into
from TriplaneGaussianReconModule.panel.picture import pixmap
from TriplaneGaussianReconModule.run.parameters import keywords

from TriplaneGaussianReconLib.data.geometry import Grid


@pytest.mark.parametrize("kind", ["none", "linear", "bent"])
@pytest.mark.parametrize(("axis", "index"), [(2, 0), (2, 5), (2, 8), (1, 13), (0, 21)])
def test_the_slice_that_is_shown_is_excluded(widget: Any, kind: str, axis: int, index: int) -> None:
    volume, _ = add_scan(widget)
    transformed(volume, kind)
    choose(widget.ui.sliceAxis, ["I (columns)", "J (rows)", "K (slices)"][axis])
    at = [10.5, 9.5, 4.0]
    at[axis] = index + 0.3
    cut_through(volume, at, axis, "Green")
    for view in ("Red", "Yellow"):
        cut_through(volume, (10.5, 9.5, 4.0), (axis + 1) % 3, view)
    click(widget.ui.excludeButton)
    assert widget.ui.excludedSlices.text == str(index)
    assert f"Slice {index}, which the view Green shows" in widget.ui.message.text
    click(widget.ui.excludeButton)
    assert widget.ui.excludedSlices.text == str(index)


def tilt_red(degrees: float) -> None:
    """Turn the view Red about its own horizontal line."""
    plane = plane_of("Red").copy()
    plane[:3, :3] = plane[:3, :3] @ mrml.rotation(0.0, degrees)
    slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode").SetSliceToRASByNTP(
        *plane[:3, 2], *plane[:3, 0], *plane[:3, 3], 0)


@pytest.mark.parametrize(("button", "slices"), [("excludeButton", "excludedSlices"), ("emptyButton", "emptySlices")])
def test_a_view_that_cuts_several_slices_is_turned_to_one_of_them_first(widget: Any, button: str, slices: str) -> None:
    volume, _ = add_scan(widget)
    transformed(volume, "linear")
    cut_through(volume, (10.5, 9.5, 4.3), 2)
    along = plane_of("Red")[:3, 2].copy()
    tilt_red(20.0)
    click(getattr(widget.ui, button))
    assert read(widget.ui.message) == ("The view Red was turned to the slices. It shows slice 4: press again if that "
                                       "is the one.")
    assert getattr(widget.ui, slices).text == "" and abs(plane_of("Red")[:3, 2] @ along) > 0.999999
    click(getattr(widget.ui, button))
    assert getattr(widget.ui, slices).text == "4" and "Slice 4, which the view Red shows" in widget.ui.message.text


def test_a_view_that_cannot_lie_along_sheared_slices_is_turned_once(widget: Any) -> None:
    volume, _ = add_scan(widget)
    shear = np.eye(4)
    shear[0, 2] = 0.3
    volume.SetAndObserveTransformNodeID(mrml.add_linear_transform(shear).GetID())
    cut_through(volume, (10.5, 9.5, 4.0), 2)
    tilt_red(25.0)
    for told in ("was turned to the slices", "is excluded"):
        click(widget.ui.excludeButton)
        assert told in widget.ui.message.text


def test_excluding_adds_to_what_is_excluded(widget: Any) -> None:
    volume, _ = add_scan(widget)
    type_into(widget.ui.excludedSlices, "1-2")
    cut_through(volume, (10.0, 9.0, 4.0), 2)
    click(widget.ui.excludeButton)
    assert keywords(widget.logic.getParameterNode())["excludedSlices"] == "1-2,4"


def test_a_view_beside_the_volume_excludes_nothing(widget: Any) -> None:
    volume, _ = add_scan(widget)
    cut_through(volume, (10.0, 9.0, 8.6), 2)
    click(widget.ui.excludeButton)
    assert widget.ui.excludedSlices.text == "" and red(widget.ui.message.text)
    assert "The slice view Red does not show the volume" in widget.ui.message.text


def test_without_a_view_along_the_axis_nothing_is_excluded(widget: Any) -> None:
    add_scan(widget)
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutOneUp3DView)
    click(widget.ui.excludeButton)
    assert "No slice view shows slices along axis K" in widget.ui.message.text


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("axis", "corner"), [("axial", (-1, -1)), ("coronal", (-1, 1)), ("sagittal", (-1, 1))])
def test_previews_are_upright(widget: Any, axis: str, corner: tuple[int, int], signs: tuple[int, int],
                              transposed: bool) -> None:
    # `corner`: where along x, y, z (left, posterior, superior) the top left corner of a picture lies.
    within = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[axis]
    order = within[::-1] if transposed else within  # the anatomical axis of columns, then that of rows
    direction = np.zeros((3, 3))
    for column, (anatomical, sign) in enumerate(zip(order, signs, strict=True)):
        direction[anatomical, column] = sign
    direction[({0, 1, 2} - set(within)).pop(), 2] = 1.0
    lengths = [6 if anatomical == within[0] else 3 for anatomical in order]
    image = np.zeros(lengths[::-1])
    wanted = dict(zip(within, corner, strict=True))
    place = [0 if sign * -1 == wanted[anatomical] else length - 1
             for anatomical, sign, length in zip(order, signs, lengths, strict=True)]
    image[place[1], place[0]] = 1.0
    grid = Grid((1, *lengths[::-1]), (0, 0, 0), (1, 1, 1), tuple(map(tuple, direction)))
    shown = pixmap(image, grid, "k", (0.0, 1.0)).toImage()
    assert shown.width() == 2 * shown.height()
    brightest = max(((x, y) for x in range(2, shown.width(), 4) for y in range(2, shown.height(), 4)),
                    key=lambda at: shown.pixelColor(*at).lightness())
    assert brightest[0] < shown.width() / 6 and brightest[1] < shown.height() / 3
