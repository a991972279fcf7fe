"""Motion of stacks: to files and back, which way it maps, and what is refused."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.stack_motion import StackMotion
from TriplaneGaussianReconLib.errors import InputError, OutputError
from TriplaneGaussianReconLib.io.motion_files import read_motion, write_motion, write_motions


@pytest.fixture
def motion(rotation: tuple) -> StackMotion:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, (12.5, -7.25, 3.0)
    return StackMotion(matrix, 1.5, -20.0)


@pytest.mark.parametrize("name", ["b.tfm", "b.json"])
def test_a_motion_comes_back(tmp_path: Path, motion: StackMotion, name: str) -> None:
    write_motion(tmp_path / name, motion)
    found = read_motion(tmp_path / name)
    np.testing.assert_allclose(found.matrix, motion.matrix, atol=1e-12)
    assert (found.gain, found.bias) == ((1.5, -20.0) if name.endswith("json") else (1.0, 0.0))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_resampling_by_simpleitk_shows_the_volume_where_it_lies_in_the_first(tmp_path: Path, motion: StackMotion,
                                                                             textured: Any) -> None:
    """The body is moved, scanned, and resampled back through the file."""
    first = Image(textured((24, 24, 24), count=40), Grid((24, 24, 24), (-12.0, -12.0, -12.0)))
    small = np.eye(4)
    small[:3, :3], small[:3, 3] = motion.matrix[:3, :3], (2.0, -1.0, 3.0)
    scanner = sitk.AffineTransform(small[:3, :3].ravel().tolist(), small[:3, 3].tolist())  # its points to the body's
    scanned = sitk.Resample(first.to_sitk(), first.to_sitk(), scanner, sitk.sitkBSpline)
    write_motion(tmp_path / "scan.tfm", StackMotion(small))
    back = sitk.Resample(scanned, first.to_sitk(), sitk.ReadTransform(str(tmp_path / "scan.tfm")), sitk.sitkBSpline)
    inner = (slice(8, 16),) * 3
    np.testing.assert_allclose(sitk.GetArrayFromImage(back)[inner], first.array[inner], atol=0.01)
    assert np.abs(sitk.GetArrayFromImage(scanned)[inner] - first.array[inner]).max() > 0.1


def kinds() -> dict[str, sitk.Transform]:
    euler = sitk.Euler3DTransform((5.0, -3.0, 40.0), 0.3, -0.2, 0.1, (1.0, 2.0, 3.0))
    versor = sitk.VersorRigid3DTransform()
    versor.SetMatrix(euler.GetMatrix())
    versor.SetTranslation(euler.TransformPoint((0.0, 0.0, 0.0)))
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(euler.GetMatrix())
    affine.SetTranslation(euler.TransformPoint((0.0, 0.0, 0.0)))
    return {"Euler3D": euler, "VersorRigid3D": versor, "Affine": affine, "composite": sitk.CompositeTransform([euler])}


@pytest.mark.parametrize("kind", kinds())
def test_every_rigid_transform_of_itk_is_read(tmp_path: Path, kind: str) -> None:
    transform = kinds()[kind]
    sitk.WriteTransform(transform, str(tmp_path / "a.tfm"))
    found = read_motion(tmp_path / "a.tfm").matrix
    for point in np.random.default_rng(0).uniform(-100, 100, (5, 3)):
        np.testing.assert_allclose(found[:3, :3] @ transform.TransformPoint(point) + found[:3, 3], point, atol=1e-9)


@pytest.mark.parametrize(("transform", "what"), [
    (sitk.ScaleTransform(3, (1.1, 1.1, 1.1)), "scales or shears"), (sitk.Euler2DTransform(), "three dimensions"),
    (sitk.BSplineTransform(3), "bends space")])
def test_a_transform_that_is_not_rigid_is_refused(tmp_path: Path, transform: sitk.Transform, what: str) -> None:
    sitk.WriteTransform(transform, str(tmp_path / "a.tfm"))
    with pytest.raises(InputError, match=f"a.tfm' cannot be used: .*{what}"):
        read_motion(tmp_path / "a.tfm")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"motions": 3}', '{"motions": [{}]}',
                                     '{"motions": [{"to_first": 1}]}',
                                     '{"motions": [{"to_first": [[1, 0], [0, 1]]}]}', '{"motions": []}', "[" * 10_000,
                                     '{"motions": [{"to_first": [[NaN,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}]}',
                                     '{"motions": [{"to_first": [[2,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}]}',
                                     '{"motions": [{"to_first": [], "gain": "x"}]}'])
@pytest.mark.parametrize("name", ["a.json", "a.tfm"])
def test_damaged_files_are_told_in_the_words_of_users(tmp_path: Path, name: str, content: str,
                                                      capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        read_motion(tmp_path / name)
    told = str(caught.value)
    assert told.startswith(f"'{tmp_path / name}' cannot be used: ") and "ITK ERROR" not in told and "0x" not in told
    assert capfd.readouterr() == ("", "")


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    for name in ("a.tfm", "a.json"):
        with pytest.raises(InputError, match="does not exist"):
            read_motion(tmp_path / name)


def test_of_several_motions_that_of_the_volume_is_read(tmp_path: Path, motion: StackMotion) -> None:
    path = tmp_path / "found.json"
    write_motions(path, [StackMotion(), motion, StackMotion(gain=2.0)], ["x/a.nrrd", "x/b.nrrd", "y/b.nrrd"])
    assert read_motion(path, "x/b.nrrd").gain == 1.5 and read_motion(path, "y/b.nrrd").gain == 2.0
    assert read_motion(path, "elsewhere/a.nrrd").gain == 1.0
    for name in ("b.nrrd", "c.nrrd", ""):
        with pytest.raises(InputError, match="no motion of .* but of x/a.nrrd, x/b.nrrd, y/b.nrrd"):
            read_motion(path, name)
    assert set(json.loads(path.read_text())["motions"][0]) == {"volume", "to_first", "gain", "bias"}


@pytest.mark.parametrize("name", ["a.tfm", "a.json"])
def test_what_cannot_be_written_leaves_the_former_file(tmp_path: Path, name: str, motion: StackMotion) -> None:
    write_motion(tmp_path / name, motion)
    former = (tmp_path / name).read_bytes()
    with pytest.raises(InputError, match="not rigid"):
        write_motion(tmp_path / name, StackMotion(np.diag([2.0, 1.0, 1.0, 1.0])))
    assert (tmp_path / name).read_bytes() == former
    with pytest.raises(OutputError, match="does not exist"):
        write_motion(tmp_path / "nowhere" / name, motion)
    with pytest.raises(InputError, match="extension"):
        write_motion(tmp_path / "a.txt", motion)
