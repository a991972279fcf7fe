#!/usr/bin/env python3
"""Draw the pictures of the documents from sample scans: before and after across the slices, in 3D, and of labels.

    pictures.py readme FOLDER [--work FOLDER]
        reconstruct the sample from every 4th and from every 8th slice and draw both pictures; what is in --work
        already is not reconstructed again
    pictures.py labels PICTURE.png
        hide the labels of a sample but those of every 8th slice, fill them, and draw a slice half-way between two
    pictures.py across VOLUME RESULT --keep-every 4 --output PICTURE.png
        draw one reconstruction beside what it was made from; demo.sh ends with this
    pictures.py stacks FIRST RESULT EXPECTED_ERROR --output PICTURE.png
        draw what was made of several volumes beside the first one alone, across its slices, and the expected error

Volumes are those whose slices are axial, along the third index of the file.
"""
from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from TriplaneGaussianReconLib.evaluation import metrics
from TriplaneGaussianReconLib.evaluation.story import ordinal

SAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleData" / "mr_fetal_atlas_sb27"
LABELLED = SAMPLE.with_name("ct_spine_lumbar")  # the sample whose labels are filled where its image is known
LABEL_METHODS = ("nearest", "random walker", "fast")  # what is drawn of it: two usual methods, and ours
STEPS = (4, 8)  # every 4th and every 8th slice is used
STEP_IN_3D = 8
CORONAL, SAGITTAL = 0.43, 0.36  # where to cut, from front to back and from the patient's right to left
PANEL_INCHES, DPI = 2.3, 130
MARGIN = 3  # pixels of background around the head

# Label of the sample -> colour and opacity of its surface: the brain as if of glass around what lies deep in it.
_GLASS = (0.87, 0.80, 0.74)
SURFACES = (((1, 5, 6, 8), _GLASS, 0.22), ((2,), (0.27, 0.55, 0.85), 1.0), ((3,), (0.90, 0.49, 0.24), 1.0),
            ((7,), (0.45, 0.62, 0.36), 1.0))


@dataclass(frozen=True)
class Cut:
    """A `coronal` or `sagittal` plane, of what was made from slices 0, `step`, 2 `step`, ... of a volume."""

    result: Path
    step: int
    name: str


@dataclass(frozen=True)
class Panel:
    """A volume [k, j, i] and what it is called, in a row of pictures."""

    title: str
    array: np.ndarray


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    readme = commands.add_parser("readme", help="both pictures of the README")
    readme.add_argument("folder", type=Path, metavar="FOLDER", help="where the pictures go")
    readme.add_argument("--work", type=Path, metavar="FOLDER", help="keep reconstructions here; default: nowhere")
    labels = commands.add_parser("labels", help="labels that were filled where the image is known")
    labels.add_argument("output", type=Path, metavar="PICTURE")
    across = commands.add_parser("across", help="one reconstruction beside what it was made from")
    across.add_argument("volume", type=Path, metavar="VOLUME", help="the scan with all of its slices")
    across.add_argument("result", type=Path, metavar="RESULT", help="what was made from some of them")
    across.add_argument("--keep-every", type=int, required=True, metavar="K", help="slices 0, K, 2 K, ... were used")
    across.add_argument("--output", type=Path, required=True, metavar="PICTURE")
    stacks = commands.add_parser("stacks", help="what was made of several volumes beside the first one alone")
    for name in ("first", "result", "error"):
        stacks.add_argument(name, type=Path, metavar=name.upper())
    stacks.add_argument("--output", type=Path, required=True, metavar="PICTURE")
    given = parser.parse_args(arguments)
    if given.command == "stacks":
        draw_stacks(given.first, given.result, given.error, given.output)
        return
    if given.command == "across":
        draw_across(given.volume, [Cut(given.result, given.keep_every, name) for name in ("sagittal", "coronal")],
                    given.output)
        return
    if given.command == "labels":
        draw_labels(given.output)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        given.folder.mkdir(parents=True, exist_ok=True)
        for step in STEPS:
            reconstruct_sample(step, work)
        draw_across(_volume(SAMPLE), [Cut(_result(work, step), step, "sagittal") for step in STEPS],
                    given.folder / "across_the_slices.png")
        draw_in_3d(_result(work, STEP_IN_3D).with_suffix(".seg.nrrd"), STEP_IN_3D, given.folder / "in_3d.png")


def reconstruct_sample(step: int, work: Path) -> None:
    """Reconstruct image and labels of the sample from every `step`th slice, unless that was done before."""
    result = _result(work, step)
    if not result.exists():
        subprocess.run([sys.executable, "-m", "TriplaneGaussianReconLib", "reconstruct", _volume(SAMPLE),
                        "--labels", _labels(SAMPLE), "--keep-every", str(step), "--output", result,
                        "--output-labels", result.with_suffix(".seg.nrrd")], check=True)


def draw_labels(output: Path) -> None:
    """Draw a slice whose labels were hidden, and what several methods make of them, as `evaluate` draws it."""
    subprocess.run([sys.executable, "-m", "TriplaneGaussianReconLib", "evaluate", _volume(LABELLED),
                    "--labels", _labels(LABELLED), "--labels-keep-every", str(STEPS[-1]),
                    "--methods", ",".join(LABEL_METHODS), "--figure", output], check=True)


def _volume(name: Path) -> Path:
    return name.with_suffix(".nii.gz")


def _labels(name: Path) -> Path:
    return name.with_suffix(".seg.nrrd")


def _result(work: Path, step: int) -> Path:
    return work / f"every_{step}.nrrd"


def draw_across(volume: Path, cuts: Sequence[Cut], output: Path) -> None:
    """Draw cuts across the slices: those used, linear interpolation, the reconstruction, and the truth.

    Args:
        volume: The scan with all of its slices.
        cuts: What to draw, a line for each.
        output: The picture.
    """
    from matplotlib.figure import Figure

    image = sitk.ReadImage(str(volume))
    truth = sitk.GetArrayFromImage(image).astype(np.float32)
    lines = [panels(truth, cut.step, sitk.GetArrayFromImage(sitk.ReadImage(str(cut.result)))) for cut in cuts]
    pictures = [_without_margin([_plane(panel.array, image, cut.name) for panel in line])
                for cut, line in zip(cuts, lines, strict=True)]
    heights = [line[0].shape[0] / line[0].shape[1] for line in pictures]
    drawing = Figure(figsize=(PANEL_INCHES * 4 + 0.4, PANEL_INCHES * sum(heights) + 0.3 * len(lines)), dpi=DPI,
                     layout="constrained")
    axes = drawing.subplots(len(lines), 4, squeeze=False, height_ratios=heights)
    top = float(np.percentile(truth, 99.5))
    for row, cut in enumerate(cuts):
        axes[row, 0].set_ylabel(f"{cut.name}, slices {cut.step * image.GetSpacing()[2]:.1f} mm apart", fontsize=8)
        for place, panel, picture in zip(axes[row], lines[row], pictures[row], strict=True):
            place.imshow(picture, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
            place.set(xticks=[], yticks=[])
            place.set_title(panel.title, fontsize=9)
    drawing.savefig(output, pil_kwargs={"optimize": True})


def panels(truth: np.ndarray, step: int, result: np.ndarray) -> list[Panel]:
    """Return what stands side by side: the slices used, linear interpolation, the reconstruction, the truth.

    The figures are the PSNR (dB) of the slices that were left out, as `evaluate` has it.
    """
    used = np.arange(0, len(truth), step)
    hidden = np.setdiff1d(np.arange(used[-1]), used)
    top = float(np.percentile(truth, 99.9))

    def quality(filled: np.ndarray) -> str:
        true, made = (np.clip((array[hidden] - truth.min()) / (top - truth.min()), 0.0, 1.0)
                      for array in (truth, filled.astype(np.float32)))
        return f"{metrics.psnr(true, made)[metrics.has_content(true)].mean():.1f} dB"

    linear = interpolated(truth, step)
    return [Panel(f"every {ordinal(step)} slice: what was used", thick(truth, step)),
            Panel(f"linear interpolation, {quality(linear)}", linear),
            Panel(f"reconstructed, {quality(result)}", result), Panel("all slices: the truth", truth)]


def thick(array: np.ndarray, step: int) -> np.ndarray:
    """Return `array` [k, j, i] with every slice in the place of the nearest of slices 0, `step`, 2 `step`, ..."""
    last = (len(array) - 1) // step
    return array[np.minimum((np.arange(len(array)) + step // 2) // step, last) * step]


def interpolated(array: np.ndarray, step: int) -> np.ndarray:
    """Return `array` [k, j, i] with linear interpolation between slices 0, `step`, 2 `step`, ..."""
    at = np.minimum(np.arange(len(array)) / step, (len(array) - 1) // step)
    below = np.floor(at).astype(int)
    above = np.minimum(below + 1, (len(array) - 1) // step)
    share = (at - below).astype(np.float32)[:, None, None]
    return array[below * step] * (1 - share) + array[above * step] * share


def draw_stacks(first: Path, result: Path, error: Path, output: Path) -> None:
    """Draw both planes across the middle of the first volume's slices: it alone, the result, its expected error.

    What was not seen is black.

    Args:
        first: The first volume, whose slices lie along the third index of the file.
        result: What was made of all volumes.
        error: The expected error of that.
        output: The picture.
    """
    from matplotlib.figure import Figure

    stack, made, expected = (sitk.ReadImage(str(file), sitk.sitkFloat32) for file in (first, result, error))
    unseen = expected >= float(sitk.GetArrayViewFromImage(expected).max())  # the whole range is expected
    made, expected = (sitk.Mask(image, unseen, 0.0, 1) for image in (made, expected))
    lines = [[sitk.GetArrayFromImage(sitk.Resample(image, plane, sitk.Transform(), how))[0] for image, how in (
        (stack, sitk.sitkBSpline), (made, sitk.sitkLinear), (expected, sitk.sitkLinear))]
        for plane in (plane_across(stack, 0), plane_across(stack, 1))]
    top, worst = (float(np.percentile(np.hstack([line[n].ravel() for line in lines]), 99)) for n in (0, 2))
    heights = [line[0].shape[0] / line[0].shape[1] for line in lines]
    drawing = Figure(figsize=(PANEL_INCHES * 3 + 0.3, PANEL_INCHES * sum(heights) + 0.5), dpi=DPI,
                     layout="constrained")
    titles = ("the first stack alone, cubic", "all stacks, reconstructed", f"expected error, white: {worst:.0f}")
    for row, line in zip(drawing.subplots(2, 3, height_ratios=heights), lines, strict=True):
        for place, picture, title, white in zip(row, line, titles, (top, top, worst), strict=True):
            place.imshow(picture, cmap="gray", vmin=0, vmax=white, interpolation="nearest")
            place.set(xticks=[], yticks=[])
            if line is lines[0]:
                place.set_title(title, fontsize=9)
    drawing.savefig(output, pil_kwargs={"optimize": True})


def plane_across(stack: sitk.Image, axis: int) -> sitk.Image:
    """Return an empty plane through the middle of `stack`, along its index `axis` (0 or 1) and across its slices, the
    last of them on top, with square pixels half as wide as those of `stack`.
    """
    size, spacing = np.array(stack.GetSize()), np.array(stack.GetSpacing())
    sides, pixel = (size - 1) * spacing, spacing[0] / 2
    plane = sitk.Image([int(sides[axis] / pixel) + 1, int(sides[2] / pixel) + 1, 1], sitk.sitkFloat32)
    corner = (size - 1) / 2
    corner[[axis, 2]] = 0, size[2] - 1
    directions = np.reshape(stack.GetDirection(), (3, 3))
    along, down = directions[:, axis], -directions[:, 2]
    plane.SetOrigin(stack.TransformContinuousIndexToPhysicalPoint(corner.tolist()))
    plane.SetSpacing([pixel, pixel, 1.0])
    plane.SetDirection(np.stack([along, down, np.cross(along, down)], axis=1).ravel().tolist())
    return plane


def _plane(array: np.ndarray, image: sitk.Image, name: str) -> np.ndarray:
    """Return a plane across the slices, the head up, the patient's right or front on the left; pixels are square."""
    volume = sitk.GetImageFromArray(array)
    volume.CopyInformation(image)
    turned = sitk.DICOMOrient(volume, "LPS")
    whole = sitk.GetArrayFromImage(turned)
    if name == "coronal":
        plane, across = whole[:, int(CORONAL * whole.shape[1])], turned.GetSpacing()[0]
    else:
        plane, across = whole[:, :, int(SAGITTAL * whole.shape[2])], turned.GetSpacing()[1]
    return np.repeat(plane[::-1], max(1, round(turned.GetSpacing()[2] / across)), axis=0)


def _without_margin(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return pictures of one shape without the background around what any of them shows."""
    bright = np.max([picture > 0.05 * picture.max() for picture in pictures], axis=0)
    rows, columns = (np.flatnonzero(bright.any(axis)) for axis in (1, 0))
    box = tuple(slice(max(at[0] - MARGIN, 0), at[-1] + MARGIN + 1) for at in (rows, columns))
    return [picture[box] for picture in pictures]


def draw_in_3d(result: Path, step: int, output: Path) -> None:
    """Draw the sample's labels as surfaces: from the slices used, reconstructed, and from all slices."""
    from matplotlib.figure import Figure

    image = sitk.ReadImage(str(_labels(SAMPLE)))
    truth = sitk.GetArrayFromImage(image)
    made = sitk.GetArrayFromImage(sitk.Resample(sitk.ReadImage(str(result)), image, sitk.Transform(),
                                                sitk.sitkNearestNeighbor))
    line = (Panel(f"labels on every {ordinal(step)} slice: what was used", thick(truth, step)),
            Panel("reconstructed", made), Panel("labels on all slices: the truth", truth))
    drawing = Figure(figsize=(PANEL_INCHES * 4, PANEL_INCHES * 1.33), dpi=DPI, layout="constrained", facecolor="white")
    for place, panel in zip(drawing.subplots(1, 3), line, strict=True):
        place.imshow(rendered(panel.array, image.GetSpacing()))
        place.set_axis_off()
        place.set_title(panel.title, fontsize=9)
    drawing.savefig(output, pil_kwargs={"optimize": True})


def rendered(labels: np.ndarray, spacing: Sequence[float], pixels: int = 600) -> np.ndarray:
    """Return a picture [row, column, RGB] of the surfaces of `labels` [k, j, i], drawn without a window."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    renderer, window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
    window.SetOffScreenRendering(True)
    window.SetSize(pixels, pixels)
    window.SetAlphaBitPlanes(True)
    window.SetMultiSamples(0)
    window.AddRenderer(renderer)
    renderer.SetBackground(1, 1, 1)
    renderer.SetUseDepthPeeling(True)
    renderer.SetUseFXAA(True)
    for values, colour, opacity in SURFACES:
        renderer.AddActor(_surface(vtk, np.isin(labels, values), spacing, colour, opacity))
    camera = renderer.GetActiveCamera()
    camera.SetViewUp(0, 0, 1)
    camera.SetPosition(-1.0, -0.75, 0.35)
    size = np.multiply(labels.shape[::-1], spacing)
    renderer.ResetCamera(0, size[0], 0, size[1], 0, size[2])  # the same view whatever the labels reach
    camera.Zoom(1.75)
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.Update()
    columns, rows, _ = grabber.GetOutput().GetDimensions()
    return vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1]


def _surface(vtk: Any, mask: np.ndarray, spacing: Sequence[float], colour: tuple[float, float, float],
             opacity: float) -> Any:
    """Return the surface of `mask` [k, j, i], smoothed as 3D Slicer does by default (factor 0.5)."""
    from vtk.util.numpy_support import numpy_to_vtk

    padded = np.pad(mask, 1).astype(np.uint8)
    image = vtk.vtkImageData()
    image.SetDimensions(*padded.shape[::-1])
    image.SetSpacing(*spacing)
    image.GetPointData().SetScalars(numpy_to_vtk(padded.ravel(), deep=True))
    contour = vtk.vtkDiscreteFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, 1)
    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(contour.GetOutputPort())
    smooth.SetNumberOfIterations(40)
    smooth.SetPassBand(0.01)
    smooth.BoundarySmoothingOff()
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(smooth.GetOutputPort())
    normals.SplittingOff()
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(normals.GetOutputPort())
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    look = actor.GetProperty()
    look.SetColor(*colour)
    look.SetOpacity(opacity)
    look.SetSpecular(0.15)
    return actor


if __name__ == "__main__":
    main()
