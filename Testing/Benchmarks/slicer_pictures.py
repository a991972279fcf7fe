#!/usr/bin/env python3
"""Draw the pictures of the guide to 3D Slicer: the panel in four states, Compare, a result in 3D, the Python packages.

    slicer_pictures.py FOLDER

The module runs on a real MRML scene with its real worker; what is in views is drawn by Slicer's own displayable
managers.  The widgets of the panel are stand-ins for Slicer's own.
"""
from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "TriplaneGaussianRecon"), str(ROOT / "Testing" / "Python" / "support")]
SAMPLES = ROOT / "Resources" / "SampleData"
WIDTH = 480  # of the panel, pixels
GAP = 8  # pixels between pictures that stand side by side
CAPTION = 26  # pixels above a picture
ASIDE = 12.0  # mm from the middle of the head to its left, through a ventricle


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw all of them into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the pictures go")
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    import pytest
    from slicer_stand_ins import install

    install()
    import mrml
    from panel_case import click, opened_panel, wait_until
    from TriplaneGaussianReconModule.scene import sample_data

    with (tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch,
          mrml.opened_scene(Path(name), patch), opened_panel(patch) as widget):
        patch.setattr(sample_data, "load", load)
        states = [photograph(widget)]
        wait_until(lambda: not widget.ui.deviceNote.text.startswith("Looking"))
        click(widget.ui.tryButton)
        wait_until(lambda: widget.ui.labelsPreview.text)
        states.append(photograph(widget))
        click(widget.ui.reconstructButton)
        wait_until(lambda: widget.ui.progressBar.value > 40 and widget.ui.preview.visible)
        states.append(photograph(widget))
        wait_until(lambda: not widget.logic.isRunning)
        states.append(photograph(widget))
        beside(states).save(folder / "panel.png", optimize=True)
        draw_results(widget, folder)
        draw_packages(folder)


def load(name: str) -> tuple[Any, Any]:
    """Put a sample into the scene, with its segments, as the module Sample Data does."""
    import mrml
    from TriplaneGaussianReconModule.scene import sample_data

    from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation

    sample, = (each for each in sample_data.SAMPLES if each.name == name)
    image = read_image(SAMPLES / sample.volume)
    volume = mrml.add_volume(image.array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.grid.ijk_to_lps, name)
    found = read_segmentation(SAMPLES / sample.segmentation)
    masks = {found.segments[number].name: mask for number, mask in found.masks()}
    segmentation = mrml.add_segmentation(volume, masks, f"{name} segmentation")
    for each in found.segments:
        segment = segmentation.GetSegmentation().GetSegment(each.name)
        segment.SetName(each.name)
        segment.SetColor(each.color or segment.GetColor())
    return volume, segmentation


def photograph(widget: Any) -> Image.Image:
    """The panel as it is, as high as it needs to be."""
    import qt

    top = widget.parent
    for _ in range(3):  # texts that wrap settle late
        qt.QCoreApplication.processEvents()
        top.resize(WIDTH, top.layout().totalHeightForWidth(WIDTH))
    return grabbed(top)


def grabbed(widget: Any) -> Image.Image:
    """A widget as it is."""
    import qt

    picture = widget.grab().toImage().convertToFormat(qt.QImage.Format_RGB888)
    rows = np.frombuffer(picture.constBits(), np.uint8).reshape(picture.height(), picture.bytesPerLine())
    return Image.fromarray(rows[:, :3 * picture.width()].reshape(picture.height(), picture.width(), 3).copy())


def draw_packages(folder: Path) -> None:
    """Draw the table of this Python's packages, with one made up to be damaged and one too old."""
    import slicer
    from panel_case import wait_until
    from TriplaneGaussianReconModule.installation.packages import State
    from TriplaneGaussianReconModule.installation.packages_dialog import PackagesDialog

    slicer.util.mainWindow = lambda: None
    dialog = PackagesDialog()
    dialog.look()
    wait_until(lambda: dialog.upgradeButton.enabled)
    file = "llvmlite/binding/libllvmlite.so"
    found = {package.name: package for package in dialog.packages}
    found["numba"] = replace(found["numba"], state=State.DAMAGED,
                             reason=f"OSError: Could not find/load shared object file {file}")
    found["safetensors"] = replace(found["safetensors"], state=State.OLD, version="0.3.1")
    dialog.tell(list(found.values()))
    dialog.dialog.resize(900, 330)
    dialog.dialog.show()
    grabbed(dialog.dialog).save(folder / "packages.png", optimize=True)
    dialog.dialog.close()


def draw_results(widget: Any, folder: Path) -> None:
    """Draw what Compare shows, and the segments as they were drawn and as they were filled, in 3D."""
    import rendered_views
    from panel_case import click
    from TriplaneGaussianReconModule.panel.views import COMPARED

    parameters = widget.logic.getParameterNode()
    given, filled = parameters.segmentation, parameters.resultSegmentation
    for node in (given, filled):
        node.GetDisplayNode().SetVisibility(False)
    click(widget.ui.compareButton)
    with rendered_views.slice_views(*COMPARED) as views:
        for each in views:
            each.node.SetSliceOffset(each.node.GetSliceOffset() - ASIDE)
        beside([titled(picture_of(each.pixels()), title) for each, title in zip(
            views, ("Input", "Result", "Error"), strict=True)]).save(folder / "compare.png", optimize=True)
    pictures = []
    with rendered_views.three_d_view((420, 420)) as view:
        for node, title in ((given, "As drawn, slices of 3.2 mm"), (filled, "Filled, slices of 0.8 mm")):
            for each in (given, filled):
                each.GetDisplayNode().SetVisibility(each is node)
            node.CreateClosedSurfaceRepresentation()
            look(view, node)
            pictures.append(titled(picture_of(view.pixels()), title))
    beside(pictures).save(folder / "slicer_3d.png", optimize=True)


def look(view: Any, node: Any) -> None:
    """Let a 3D view look at all of a segmentation from the left, behind and above."""
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    camera, middle = view.renderer.GetActiveCamera(), (bounds[::2] + bounds[1::2]) / 2.0
    camera.SetFocalPoint(*middle)
    camera.SetPosition(*(middle + np.array([-0.7, -1.0, 0.45]) * np.ptp(bounds)))
    camera.SetViewUp(0.0, 0.0, 1.0)
    view.renderer.ResetCamera(bounds)
    camera.Zoom(1.6)


def picture_of(pixels: np.ndarray) -> Image.Image:
    """A picture of pixels that are counted from the lower left corner."""
    return Image.fromarray(pixels[::-1].copy())


def titled(picture: Image.Image, title: str) -> Image.Image:
    """A picture with words above it."""
    made = Image.new("RGB", (picture.width, picture.height + CAPTION), "white")
    ImageDraw.Draw(made).text((4, 5), title, fill="black", font=ImageFont.load_default(14))
    made.paste(picture, (0, CAPTION))
    return made


def beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures side by side, on white."""
    width = sum(each.width for each in pictures) + GAP * (len(pictures) - 1)
    made, left = Image.new("RGB", (width, max(each.height for each in pictures)), "white"), 0
    for each in pictures:
        made.paste(each, (left, 0))
        left += each.width + GAP
    return made


if __name__ == "__main__":
    main()
