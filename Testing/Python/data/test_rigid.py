"""What is a rigid motion, and what is not."""
from __future__ import annotations

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.rigid import rigid
from TriplaneGaussianReconLib.errors import InputError


def placed(rotation: object, shift: tuple[float, float, float] = (3.0, -4.0, 5.0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.asarray(rotation), shift
    return matrix


def test_a_rigid_matrix_stays_as_it_is(rotation: tuple) -> None:
    np.testing.assert_allclose(rigid(placed(rotation)), placed(rotation), atol=1e-14)


def test_few_digits_are_brought_to_right_angles(rotation: tuple) -> None:
    found = rigid(np.round(placed(rotation), 4))
    np.testing.assert_allclose(found[:3, :3].T @ found[:3, :3], np.eye(3), atol=1e-14)
    np.testing.assert_allclose(found, placed(rotation), atol=1e-4)


@pytest.mark.parametrize(("matrix", "what"), [
    (np.diag([1.01, 1.0, 1.0, 1.0]), "scales or shears"), (np.eye(4) + np.eye(4, k=1), "scales or shears"),
    (np.diag([-1.0, 1.0, 1.0, 1.0]), "mirrors"), (np.eye(3), "4 rows"), (np.full((4, 4), np.nan), "4 rows"),
    ([["a"] * 4] * 4, "4 rows"), ([[1, 2], [3]], "4 rows"), (np.diag([1.0, 1.0, 1.0, 2.0]), "scales")])
def test_what_is_not_rigid_is_refused(matrix: object, what: str) -> None:
    with pytest.raises(InputError, match=what):
        rigid(matrix)  # type: ignore[arg-type]
