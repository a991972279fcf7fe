"""Motion of stacks as files: JSON for all volumes of a reconstruction, or `.tfm` of ITK and 3D Slicer for one.

JSON is {"motions": [{"volume": "b.nii.gz", "to_first": [[...], ...], "gain": 1.0, "bias": 0.0}, ...]}.  `to_first` has
4 rows of 4 numbers, LPS mm, and carries points of the volume, as its header has them, to the first volume's world.

A transform of ITK maps points of the output of resampling to those of its input, so a `.tfm` holds the inverse: from
the first volume's world to the volume.  `SimpleITK.Resample(volume, first, transform)` then shows the volume where it
lies in that world, and so does 3D Slicer where the volume is put under the transform that it has read.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.conversions import simpleitk
from ..data.json_fields import mapping, real, sequence, text
from ..data.rigid import rigid
from ..data.stack_motion import StackMotion
from ..errors import InputError, OutputError, cause
from .atomic import PathLike, check_output, whole_file, write_json
from .itk_files import is_text, undisturbed

ITK, JSON = ".tfm", ".json"
_MOST_BYTES = 10 ** 7  # of a file of motions


def check_motion_writable(path: PathLike) -> None:
    """Find out before long work whether `write_motion` can write there; raises InputError or OutputError."""
    check_output(Path(path), ITK, JSON)


def write_motion(path: PathLike, motion: StackMotion) -> None:
    """Write the motion of one stack.

    Args:
        path: a `.tfm`, which has no place for gain and bias, or a `.json`.
        motion: how points of the stack are carried to the first volume's world.

    Raises:
        InputError: the name has another extension, or the motion is not rigid.
        OutputError: the file cannot be written; one that was there is unchanged.
        MissingPackageError: a `.tfm` needs SimpleITK.
    """
    path = Path(path)
    check_motion_writable(path)
    matrix = rigid(motion.matrix)
    if path.suffix.lower() == JSON:
        write_json(path, {"motions": [_entry(motion)]})
        return
    if not is_text(path):
        raise OutputError(f"'{path}' cannot be written: its name or folder is no text in UTF-8. Choose another name.")
    back = np.linalg.inv(matrix)
    transform = simpleitk().AffineTransform(back[:3, :3].ravel().tolist(), back[:3, 3].tolist())
    with whole_file(path) as part:
        simpleitk().WriteTransform(transform, str(part))


def write_motions(path: PathLike, motions: Sequence[StackMotion], volumes: Sequence[str]) -> None:
    """Write the motions of all volumes as JSON.

    Args:
        path: a `.json`.
        motions: one for each volume; that of the first changes nothing.
        volumes: what each is called, as a path for instance.

    Raises:
        OutputError: the file cannot be written; one that was there is unchanged.
    """
    write_json(Path(path), {"motions": [{"volume": volume, **_entry(motion)}
                                        for volume, motion in zip(volumes, motions, strict=True)]})


def read_motion(path: PathLike, volume: str = "") -> StackMotion:
    """Read the motion of one stack.

    Args:
        path: a `.tfm` with any linear transform that is rigid (Euler3D, VersorRigid3D, Affine, ...), or a `.json` as
            `write_motion` and `write_motions` write it.
        volume: of which volume, where the file has several: what it is called there, or the name of its file.

    Raises:
        InputError: the file cannot be read, its transform is not rigid, or it has none of this volume.
        MissingPackageError: a `.tfm` needs SimpleITK.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_motions(f"{folder}/found.json", [StackMotion(), StackMotion(gain=1.5)], ["a.nrrd", "b.nrrd"])
        ...     read_motion(f"{folder}/found.json", "b.nrrd").gain
        1.5
    """
    path = Path(path)
    try:
        if not path.exists():
            raise InputError(f"it does not exist. Give a {ITK} or {JSON} file.")
        if path.suffix.lower() == JSON:
            return _from_json(path, volume)
        return StackMotion(_from_itk(path))
    except InputError as error:
        raise InputError(f"'{path}' cannot be used: {error}") from error


def _entry(motion: StackMotion) -> dict[str, Any]:
    return {"to_first": rigid(motion.matrix).tolist(), "gain": float(motion.gain), "bias": float(motion.bias)}


def _from_itk(path: Path) -> np.ndarray:
    """Return what carries points of the volume to the first volume's world (4, 4)."""
    if not is_text(path):
        raise InputError("its name or folder is no text in UTF-8. Rename it.")
    sitk = simpleitk()
    try:
        path.open("rb").close()
        with undisturbed():
            transform = sitk.ReadTransform(str(path))
            points = [transform.TransformPoint(point) for point in np.vstack([np.zeros(3), np.eye(3)]).tolist()]
    except OSError as error:
        raise InputError(f"{cause(error)}. Give a {ITK} or {JSON} file.") from error
    except (RuntimeError, ValueError, TypeError):
        raise InputError(f"it holds no transform of three dimensions. Give a {ITK} file of ITK or 3D Slicer, or a "
                         f"{JSON} file.") from None
    if not transform.IsLinear():
        raise InputError("its transform bends space. Give one that is rigid.")
    back = np.eye(4)
    back[:3, 3] = points[0]
    back[:3, :3] = (np.array(points[1:]) - points[0]).T
    return np.linalg.inv(rigid(back))


def _from_json(path: Path, volume: str) -> StackMotion:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
        entries = [mapping({"motion": entry}, "motion") for entry in sequence(content, "motions")]
        names = [text(entry, "volume") if "volume" in entry else "" for entry in entries]
        entry = entries[_chosen(names, volume)]
        gain, bias = (real(entry, name) if name in entry else usual for name, usual in (("gain", 1.0), ("bias", 0.0)))
        return StackMotion(rigid(sequence(entry, "to_first")), gain, bias)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{cause(error)}. Give a {ITK} or {JSON} file.") from error
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError("it is no JSON with 'motions', each of which has a matrix 'to_first' of 4 rows of 4 numbers. "
                         "Give a file that --output-motion has written, or one like it.") from None


def _chosen(names: Sequence[str], volume: str) -> int:
    """Which of several motions is that of `volume`: a lone one, or that of its path, or of its file's name."""
    if len(names) == 1:
        return 0
    for wanted, called in ((volume, list(names)), (Path(volume).name, [Path(name).name for name in names])):
        if called.count(wanted) == 1:
            return called.index(wanted)
    raise InputError(f"it has no motion of '{volume}' alone, but of {', '.join(names) or 'no volume'}. Name the volume "
                     "there as it is named here.")
