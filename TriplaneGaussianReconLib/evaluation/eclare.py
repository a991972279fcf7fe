"""ECLARE as a method to compare with: self-supervised super-resolution by a network, the best that can be had.

Its package (PyPI `eclare`, by Remedios et al.) needs an environment of its own, since it pins an old scipy.  So it is
used as a program: the observed slices go there as a NIfTI file, and the dense volume comes back as one.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.geometry import AXES, Axis, Grid, array_axis
from ..data.images import Image, Segmentation
from ..data.selection import Selection
from ..errors import InputError, ReconstructionError
from ..io.atomic import write_array
from ..io.readers import read_image
from ..io.temporary_folders import TemporaryFolder
from ..io.writers import write_image
from ..runtime.devices import choose
from .methods import MethodResult
from .other_python import OtherPython

PATCHES = 600_000  # its own default is a million
_CUBIC = 0.01  # by what share of a voxel its sides may differ, and places be off


@dataclass(frozen=True)
class Eclare:
    """ECLARE, installed in another environment, as a `methods.Method`.

    It makes voxels cubic, and centres them within the extent of the thick slices.  They fall on those of the volume if
    these are cubic too, and every 3rd slice is observed, or every 5th and so on.

    Attributes:
        python: The interpreter of that environment; None if there is none.
        device: Where to compute, see `devices.choose`; on a CPU it takes days.
        patches: To train with.
    """

    python: str | None
    device: str = "auto"
    patches: int = PATCHES

    def prepare(self) -> None:
        """Make sure that it can run.

        Raises:
            MissingPackageError: There is no such interpreter, or it has no ECLARE.
            BackendUnavailableError: `device` is a GPU that it cannot use.
        """
        self._program.check(choose(self.device).device.type == "cuda")

    def __call__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection
                 ) -> MethodResult:
        """Fill the image; labels are left alone.  Slices beyond the outermost that ECLARE makes repeat these.

        Raises:
            InputError: Its slices do not fall on those of the volume.
            ReconstructionError: It failed.
        """
        step = _odd_step(image.grid, axis, selection)
        observed = np.take(image.array, selection.indices, array_axis(axis))
        depth, rows, columns = observed.shape
        thick = Grid((depth, rows, columns), spacing=_along(axis, float(step), 1.0))  # in units of the volume's voxels
        with TemporaryFolder() as folder:
            write_image(folder / "thick.nii.gz", Image(observed.astype(np.float32), thick))
            # An observed slice is one slice of the volume: in between, nothing was averaged.
            write_array(folder / "profile.npy", np.array([0, 1, 0], np.float32))
            self._run(folder)
            dense = _read_result(folder / "thick_eclare.nii.gz")
        first = (step - 1) // 2  # where in the result the first observed slice is
        shape, origin = list(observed.shape), _along(axis, -first, 0.0)
        shape[array_axis(axis)] *= step
        if list(dense.array.shape) != shape or not np.allclose(dense.grid.origin, origin, atol=_CUBIC):
            raise ReconstructionError(f"ECLARE returned voxels {list(dense.array.shape)} from {dense.grid.origin} on, "
                                      f"where {shape} from {origin} on were expected. Use eclare 1.0.1.")
        wanted = np.arange(selection.count) - selection.indices[0] + first
        return MethodResult(np.take(dense.array, wanted.clip(0, len(selection) * step - 1), array_axis(axis)))

    def _run(self, folder: Path) -> None:
        """Run the program on the files in `folder`."""
        device = choose(self.device).device
        gpu = ["--gpu-id", str(device.index or 0)] if device.type == "cuda" else []
        self._program.run("eclare.main", "main", [
            "--in-fpath", "thick.nii.gz", "--out-dir", ".", "--n-patches", str(self.patches),
            "--relative-slice-thickness", "1", "--relative-slice-profile-fpath", "profile.npy", *gpu], folder)

    @property
    def _program(self) -> OtherPython:
        return OtherPython(self.python, "ECLARE", "eclare", "--eclare-python")


def _odd_step(grid: Grid, axis: Axis, selection: Selection) -> int:
    """From one observed slice to the next; raises InputError unless ECLARE's slices fall on those of `grid`."""
    steps = set(np.diff(selection.indices).tolist())
    if len(steps) != 1 or min(steps) % 2 == 0 or max(grid.spacing) > (1 + _CUBIC) * min(grid.spacing):
        sides = " x ".join(f"{side:.4g}" for side in grid.spacing)
        raise InputError(f"ECLARE's slices fall on those of the volume only if its voxels are cubic (here {sides} mm) "
                         "and every 3rd slice is kept, or every 5th and so on. Choose such a volume and --keep-every "
                         "3.")
    return int(steps.pop())


def _along(axis: Axis, here: float, elsewhere: float) -> tuple[float, float, float]:
    """Three numbers in the order i, j, k."""
    i, j, k = (here if name == axis else elsewhere for name in AXES)
    return i, j, k


def _read_result(path: Path) -> Image:
    if not path.exists():
        raise ReconstructionError(f"ECLARE ended without a result '{path.name}'. Use eclare 1.0.1.")
    return read_image(path)
