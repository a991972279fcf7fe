"""Models as .ply files, for viewers of Gaussian splats."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..errors import MissingPackageError
from ..gaussians.cloud import GaussianParameters
from ..io.atomic import check_output, whole_file
from .model import Model
from .model_file import PathLike

_SH_C0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))


def export_ply(path: PathLike, model: Model) -> None:
    """Write the Gaussians as a .ply for viewers of Gaussian splats; the file appears whole or stays as it was.

    Centres are LPS mm.  Scales (logarithms of mm) and rotations (quaternions w, x, y, z) are the principal axes of the
    covariances in LPS.  Opacities are the logits of the weights.  The colour is the intensity at the centre as grey, 0
    and 1 at the observed minimum and robust maximum, in the constant spherical harmonic.

    Viewers project and blend all Gaussians along the line of sight, so what they show is no slice of the volume.
    Intensity slopes and labels have no place in the format and are left out.

    Raises:
        InputError: Unless the name ends in .ply.
        MissingPackageError: Without gsplat.
        OutputError: If the file cannot be written.
    """
    path = Path(path)
    check_output(path, ".ply")
    try:
        from gsplat.exporter import export_splats
    except ImportError as error:
        raise MissingPackageError("The export to .ply needs gsplat. Install it with 'pip install gsplat'.") from error
    # In double precision: the covariance is an inverse, and flat Gaussians would lose digits.
    exact = GaussianParameters(**{name: tensor.detach().cpu().double()
                                  for name, tensor in model.parameters.tensors().items()})
    centres = exact.centres.numpy() @ model.frame[:3, :3].T + model.frame[:3, 3]
    scales, quaternions = _principal_axes(exact.precisions().numpy(), model.frame[:3, :3])
    grey = torch.clamp(exact.values[:, 0] + model.intensity.background, 0.0, 1.0)
    color = ((grey - 0.5) / _SH_C0)[:, None, None].expand(-1, 1, 3)
    with whole_file(path) as file:
        export_splats(means=torch.from_numpy(centres), scales=torch.from_numpy(np.log(scales)),
                      quats=torch.from_numpy(quaternions), opacities=exact.raw_weights, sh0=color,
                      shN=torch.zeros(len(exact), 0, 3), format="ply", save_to=str(file))


def _principal_axes(precisions: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations (N, 3) mm along the principal axes, and these as quaternions (N, 4) w, x, y, z.

    precisions: (N, 6), packed as in `Gaussians`.  rotation: (3, 3), from the frame of the precisions to the wanted one.
    """
    from scipy.spatial.transform import Rotation

    matrices = precisions[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    eigenvalues, axes = np.linalg.eigh(matrices)
    axes = rotation @ axes
    axes[:, :, 0] *= np.sign(np.linalg.det(axes))[:, None]  # a reflection is no rotation
    return eigenvalues ** -0.5, np.roll(Rotation.from_matrix(axes).as_quat(), 1, axis=1)
