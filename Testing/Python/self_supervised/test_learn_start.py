"""The program that learns a start: its images, and that a seed decides everything."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from repository import ROOT
from safetensors.torch import load_file, save_file

from TriplaneGaussianReconLib.config.presets import PRESETS

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "Resources" / "Start"))
    import learn_start

    return learn_start


@pytest.fixture
def painter(program: ModuleType) -> ModuleType:
    import synthetic_images

    return synthetic_images


def test_images_are_bounded_differ_and_repeat_from_their_seed(painter: ModuleType) -> None:
    first, again = (painter.synthetic_images(6, 64, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.min() >= 0.0
    assert first.max() < 2.0
    assert first.flatten(1).std(dim=1).min() > 0.01
    assert (first[1:] - first[:-1]).abs().mean() > 0.05


def test_labels_leave_the_images_as_they_are_and_repeat_from_their_seed(painter: ModuleType) -> None:
    def made(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = painter.labelled_images(6, 64, *(torch.Generator().manual_seed(n) for n in (3, seed)))
        return images, labels

    (images, labels), (again, same), (_, other) = made(7), made(7), made(8)
    assert torch.equal(images, again)
    assert torch.equal(images, painter.synthetic_images(6, 64, torch.Generator().manual_seed(3)))
    assert torch.equal(labels, same)
    assert not torch.equal(labels, other)


def test_images_have_several_labels_each_thin_ones_too_on_shapes_that_can_be_seen(painter: ModuleType) -> None:
    images, labels = painter.labelled_images(12, 96, *(torch.Generator().manual_seed(n) for n in (0, 1)))
    assert labels.min() == 0
    counts = [len(each.unique()) for each in labels]
    assert min(counts) > 1
    assert sum(counts) > 4 * len(counts)
    assert 0.1 < (labels > 0).float().mean() < 0.9
    alone = (labels[:, 1:-1] > 0) & (labels[:, 1:-1] != labels[:, :-2]) & (labels[:, 1:-1] != labels[:, 2:])
    assert alone.sum() > 20  # of a label that has others above and below
    border = labels[:, 1:] != labels[:, :-1]
    change = (images[:, 1:] - images[:, :-1]).abs()
    assert change[border].mean() > 2.0 * change[~border].mean()


def test_learning_repeats_from_its_seed_and_goes_on_past_the_first_images(program: ModuleType, tmp_path: Path) -> None:
    config = program.LearningConfig(steps=7, batch=16, tasks=4, renewed=3, images=4, side=64)
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        program.learn(config, seed, CPU, (4, 6), tmp_path / name)
    first, again, other = (load_file(tmp_path / name) for name in ("first", "again", "other"))
    assert all(torch.equal(tensor, again[name]) and tensor.isfinite().all() for name, tensor in first.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())
    assert {name.partition(".")[0] for name in first} == {"4", "6"}
    assert all(tensor.dtype == torch.float16 for tensor in first.values())


def test_what_is_learnt_for_labels_repeats_from_its_seed_and_joins_what_is_in_the_file(
        program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = PRESETS["fast"]
    assert fast.super_resolution is not None
    as_shipped = replace(fast.super_resolution, width=24, blocks=4)  # in tests presets are short
    monkeypatch.setitem(PRESETS, "fast", replace(fast, super_resolution=as_shipped))
    config = program.LearningConfig(steps=5, batch=16, tasks=4, renewed=3, images=4, side=64)
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        save_file({"4.last.bias": torch.ones(4)}, tmp_path / name)
        program.learn_for_labels(config, seed, CPU, tmp_path / name)
    first, again, other = (load_file(tmp_path / name) for name in ("first", "again", "other"))
    assert all(torch.equal(tensor, again[name]) and tensor.isfinite().all() for name, tensor in first.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())
    assert {name.partition(".")[0] for name in first} == {"4", "labels"}
    assert torch.equal(first["4.last.bias"], torch.ones(4))


@pytest.mark.parametrize("narrow", [True, False])
def test_tasks_lie_between_the_widths_that_are_filled_from_so_many_slices(program: ModuleType, narrow: bool) -> None:
    import lessons

    random = np.random.default_rng(0)
    tasks = [lessons.Task.drawn(narrow, program.LearningConfig(steps=1), random) for _ in range(200)]
    assert all(1.5 <= task.width <= 3.0 if narrow else 2.8 <= task.width <= 22.0 for task in tasks)
    assert all(1.0 <= task.thickness <= task.width and (task.fractions > 0.0).all() and (task.fractions < 1.0).all()
               for task in tasks)
