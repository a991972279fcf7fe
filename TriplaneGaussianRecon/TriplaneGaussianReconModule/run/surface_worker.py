"""Makes surfaces of segments in a process of its own, by Slicer's own class.

    python surface_worker.py FOLDER

`scene/surfaces.py` writes into the folder what is to be done, and reads what came of it: of each segment, the number of
which is printed when they are there, files with points, triangles and normals.
"""
from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NO_SLICER = 3  # exit code: Slicer's classes cannot be had outside the application
_HERE = "here"  # the only segment that is worked on


def main(folder: Path) -> int:
    """Make all surfaces; returns the exit code."""
    try:
        import slicer
    except ImportError as error:
        print(error, file=sys.stderr)
        return NO_SLICER
    slicer.vtkSegmentationConverterFactory.GetInstance().RegisterConverterRule(
        slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule())
    given = json.loads((folder / "layers.json").read_text(encoding="utf-8"))
    for layer, each in enumerate(given["layers"]):
        for number, value, labels in _segments(folder / f"layer_{layer}.npy", each):
            _write(_surface(labels, value, given["parameters"]), folder, number)
            print(number, flush=True)  # fails where nobody listens any more, which ends this
    return 0


def _segments(path: Path, layer: dict[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """Number, value and labels of each segment: the voxels about it, of which comes the same surface as of all."""
    import numpy as np
    from scipy.ndimage import find_objects

    first, last = np.reshape(layer["extent"], (3, 2)).T[:, ::-1]
    voxels, segments = np.load(path, mmap_mode="r", allow_pickle=False), layer["segments"]
    if not voxels.size:
        voxels, last = np.zeros(1, np.uint8), first
    voxels = voxels.reshape(last - first + 1)
    boxes = find_objects(voxels, max(segments.values(), default=0))
    for number, value in segments.items():
        box = boxes[value - 1] or (slice(0, 1),) * 3
        box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
        yield number, value, _image(voxels[box], first + [side.start for side in box], layer["matrix"])


def _surface(labels: Any, value: int, parameters: str) -> Any:
    """The surface of the voxels with a value, made as Slicer's parameters ask for."""
    import slicer

    segmentation, segment, names = slicer.vtkSegmentation(), slicer.vtkSegment(), slicer.vtkSegmentationConverter
    segmentation.SetSourceRepresentationName(names.GetBinaryLabelmapRepresentationName())
    segmentation.DeserializeConversionParameters(parameters)
    segment.SetLabelValue(value)
    segment.AddRepresentation(names.GetBinaryLabelmapRepresentationName(), labels)
    segmentation.AddSegment(segment, _HERE)
    if not segmentation.CreateRepresentation(names.GetClosedSurfaceRepresentationName()):
        raise RuntimeError("Slicer could not make the surface.")
    return segmentation.GetSegmentRepresentation(_HERE, names.GetClosedSurfaceRepresentationName())


def _image(voxels: Any, first: Any, matrix: list[list[float]]) -> Any:
    """A label map of voxels [k, j, i], of which the first one has the indices `first` [k, j, i]."""
    import numpy as np
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image, toWorld = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    toWorld.DeepCopy([value for row in matrix for value in row])
    image.SetImageToWorldMatrix(toWorld)
    image.SetExtent(*(int(n) for pair in zip(first[::-1], (first + voxels.shape - 1)[::-1], strict=True) for n in pair))
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True))
    return image


def _write(surface: Any, folder: Path, number: str) -> None:
    """Write points, triangles and normals of a surface."""
    import numpy as np
    from vtk.util.numpy_support import vtk_to_numpy

    cells, points, normals = surface.GetPolys(), surface.GetPoints(), surface.GetPointData().GetNormals()
    arrays = {"points": np.zeros((0, 3), np.float32) if points is None else vtk_to_numpy(points.GetData()),
              "offsets": vtk_to_numpy(cells.GetOffsetsArray()).astype(np.int64),
              "connectivity": vtk_to_numpy(cells.GetConnectivityArray()).astype(np.int64)}
    if normals is not None:
        arrays["normals"] = vtk_to_numpy(normals)
    for name, array in arrays.items():
        np.save(folder / f"surface_{number}_{name}.npy", array)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
