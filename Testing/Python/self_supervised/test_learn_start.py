"""The program that learns a start: its images, and that a seed decides everything."""
from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from repository import ROOT
from safetensors.torch import load_file

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "Resources" / "Start"))
    import learn_start

    return learn_start


def test_images_are_bounded_differ_and_repeat_from_their_seed(program: ModuleType) -> None:
    first, again = (program.synthetic_images(6, 64, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.min() >= 0.0
    assert first.max() < 2.0
    assert first.flatten(1).std(dim=1).min() > 0.01
    assert (first[1:] - first[:-1]).abs().mean() > 0.05


def test_learning_repeats_from_its_seed_and_goes_on_past_the_first_images(program: ModuleType, tmp_path: Path) -> None:
    config = program.LearningConfig(steps=7, batch=16, tasks=4, renewed=3, images=4, side=64)
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        program.learn(config, seed, CPU, (4, 6), tmp_path / name)
    first, again, other = (load_file(tmp_path / name) for name in ("first", "again", "other"))
    assert all(torch.equal(tensor, again[name]) and tensor.isfinite().all() for name, tensor in first.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())
    assert {name.partition(".")[0] for name in first} == {"4", "6"}
    assert all(tensor.dtype == torch.float16 for tensor in first.values())


@pytest.mark.parametrize("narrow", [True, False])
def test_tasks_lie_between_the_widths_that_are_filled_from_so_many_slices(program: ModuleType, narrow: bool) -> None:
    random = program.np.random.default_rng(0)
    tasks = [program.Task.drawn(narrow, program.LearningConfig(), random) for _ in range(200)]
    assert all(1.5 <= task.width <= 3.0 if narrow else 2.8 <= task.width <= 22.0 for task in tasks)
    assert all(1.0 <= task.thickness <= task.width and (task.fractions > 0.0).all() and (task.fractions < 1.0).all()
               for task in tasks)
