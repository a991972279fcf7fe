"""Several volumes as a Python program gives them, up to the solver, for which a stand-in stands."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in_solver import FOUND_SHIFT, StandInSolver

import TriplaneGaussianReconLib as tgr

Volumes = list[tgr.Image]


@pytest.fixture
def solver(monkeypatch: pytest.MonkeyPatch) -> StandInSolver:
    return StandInSolver.in_place(monkeypatch)


@pytest.fixture
def volumes(textured: Callable[..., np.ndarray]) -> Volumes:
    """Slices of 3 mm along k, j and i."""
    grids = [tgr.Grid((5, 15, 15), (0.0, 0.0, 1.0), (1.0, 1.0, 3.0)), tgr.Grid((15, 5, 15), (0.0, 1.0, 0.0), (1, 3, 1)),
             tgr.Grid((15, 15, 5), (1.0, 0.0, 0.0), (3.0, 1.0, 1.0))]
    return [tgr.Image((900 * textured(grid.shape, count=20)).astype(np.int16), grid) for grid in grids]


def test_what_goes_with_each_volume_is_one_for_all_or_a_list(volumes: Volumes, solver: StandInSolver) -> None:
    shift = np.eye(4)
    shift[:3, 3] = 1.0, 2.0, 3.0
    labels = tgr.Segmentation.from_labelmap((volumes[1].array > 400).astype(np.uint8), volumes[1].grid)
    result = tgr.reconstruct(volumes, thickness=[None, 4.0, 2.0], profile="box", slices=["all", "every:2", None],
                             exclude=["2", (), [0, 1]], labels=[None, labels, None], to_first=[None, shift, None],
                             axis=[None, "coronal", "i"], seed=7, device="cpu")
    assert solver.observations is not None and len(solver.observations.stacks) == 3 and solver.options["seed"] == 7
    stacks = solver.observations.stacks
    assert [(s.thickness, s.profile) for s in stacks] == [(3.0, "box"), (4.0, "box"), (2.0, "box")]
    assert [sorted(s.numbers or ()) for s in stacks] == [[0, 1, 3, 4], [0, 2, 4], [2, 3, 4]]
    assert [s.layers is None for s in stacks] == [True, False, True]
    assert result.volume.grid.spacing == (1.0, 1.0, 1.0) and result.segmentation is not None
    np.testing.assert_allclose(result.motions[1].matrix[:3, 3], np.add(FOUND_SHIFT, (1.0, 2.0, 3.0)))
    assert len(result.report.volumes) == 3 and result.report.volumes[2].trusted == (2, 3, 4)


def test_each_volume_has_its_own_mask(volumes: Volumes, solver: StandInSolver, tmp_path: Path) -> None:
    masks = [tgr.Segmentation.from_labelmap(volume.array > 400, volume.grid) for volume in volumes]
    tgr.write_segmentation(tmp_path / "m.nrrd", masks[1])
    tgr.reconstruct([volumes[0], volumes[1], tgr.StackInput(volumes[2], mask=masks[2])],
                    mask=[None, tmp_path / "m.nrrd", None], device="cpu")
    assert solver.observations is not None
    first, *others = solver.observations.stacks
    assert first.weights is None
    for stack, volume in zip(others, volumes[1:], strict=True):
        assert stack.weights is not None and stack.weights.sum() == (volume.array > 400).sum()
    tgr.reconstruct(volumes, mask=masks[0], device="cpu")
    assert all(stack.weights is not None for stack in solver.observations.stacks)
    tgr.reconstruct(volumes[1], mask=masks[1], profile="box", device="cpu")
    np.testing.assert_array_equal(solver.observations.stacks[0].weights, others[0].weights)
    thin = tgr.reconstruct(volumes[1], mask=masks[1], device="cpu", spacing="input")
    np.testing.assert_array_equal(np.isfinite(thin.volume.array), volumes[1].array > 400)


def test_stack_inputs_paths_and_images_of_others_are_the_same(volumes: Volumes, solver: StandInSolver,
                                                              tmp_path: Path) -> None:
    tgr.write_image(tmp_path / "b.nrrd", volumes[1])
    tgr.reconstruct((tgr.StackInput(volumes[0], thickness=2.5), tmp_path / "b.nrrd", volumes[2].to_sitk()),
                    thickness=[None, 4.0, None], motion="none", device="cpu")
    assert solver.observations is not None and solver.options["motion"] == "none"
    assert [s.thickness for s in solver.observations.stacks] == [2.5, 4.0, 3.0]
    for stack, volume in zip(solver.observations.stacks, volumes, strict=True):
        assert sorted(stack.pixels.ravel()) == sorted(volume.array.ravel())


def test_the_voxels_of_the_result_can_be_those_of_a_volume(volumes: Volumes, solver: StandInSolver) -> None:
    own = tgr.Grid((4, 5, 6))
    for voxels, shape in ((None, (15, 15, 15)), ("first", (13, 15, 15)), (own, own.shape), (volumes[1], (15, 5, 15))):
        assert tgr.reconstruct(volumes, output_grid=voxels, device="cpu").volume.grid.shape == shape


@pytest.mark.parametrize(("options", "what"), [
    ({"thickness": [1.0, 2.0]}, "thickness has 2 entries for 3 volumes"),
    ({"labels": "l.nrrd"}, "labels belongs to one"),
    ({"to_first": np.eye(4)}, "to_first belongs to one"), ({"mask": [None, "m.nrrd", None]}, "Volume 2: 'm.nrrd'"),
    ({"slices": {"k": "all"}}, "without the name of an axis"),
    ({"cover_voxels": True}, "cover_voxels does not go with several"),
    ({"texture": "even"}, "texture does not go with several"),
    ({"slices": ["all", "99", "all"]}, "Volume 2: Slice"),
    ({"label_probabilities": True}, "label_probabilities does not go"),
    ({"output_grid": "nowhere.nrrd"}, "does not exist"),
    ({"to_first": [None, "nowhere.tfm", None]}, "Volume 2: 'nowhere.tfm'"),
    ({"profile": "round"}, "Unknown slice profile")])
def test_what_cannot_be_done_is_told(volumes: Volumes, options: dict[str, Any], what: str) -> None:
    with pytest.raises(tgr.InputError, match=what):
        tgr.reconstruct(volumes, device="cpu", **options)


def test_one_volume_alone_does_not_move_and_a_stack_input_has_its_own(volumes: Volumes) -> None:
    for options in ({"to_first": np.eye(4)}, {"motion": "none"}, {"output_grid": "first"}):
        with pytest.raises(tgr.InputError, match="does not go with one volume alone"):
            tgr.reconstruct(volumes[0], device="cpu", **options)  # type: ignore[arg-type]
    with pytest.raises(tgr.InputError, match="cover_voxels does not go with slices that average"):
        tgr.reconstruct(volumes[0], device="cpu", thickness=3.0, cover_voxels=True)
    with pytest.raises(tgr.InputError, match="Volume 1: It is a StackInput, which has its own to_first"):
        tgr.reconstruct([tgr.StackInput(volumes[0]), volumes[1]], to_first=[np.eye(4), None], device="cpu")


@pytest.mark.parametrize("options", [{"thickness": 3.5}, {"profile": "box"}])
def test_one_volume_whose_slices_average_is_solved_for_like_several(volumes: Volumes, solver: StandInSolver,
                                                                     options: dict[str, Any]) -> None:
    labels = tgr.Segmentation.from_labelmap((volumes[0].array > 400).astype(np.uint8), volumes[0].grid)
    result = tgr.reconstruct(volumes[0], labels=labels, slices=[0, 1, 2, 4], exclude=(1,), device="cpu", **options)
    assert solver.observations is not None and solver.options["motion"] == "none"
    (stack,) = solver.observations.stacks
    assert stack.numbers == (0, 2, 4) and stack.layers is not None
    assert (stack.thickness, stack.profile) == (options.get("thickness", 3.0), options.get("profile", "gaussian"))
    assert result.volume.grid.spacing == (1.0, 1.0, 1.0)
