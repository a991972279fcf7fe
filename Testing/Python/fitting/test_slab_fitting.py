"""Slabs: the same result as in one go, whatever memory there is."""
from __future__ import annotations

import gc
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rendered_grid import draw_grid
from repository import ROOT, SAMPLES

from TriplaneGaussianReconLib.config.presets import PRESETS, in_steps, preset_named
from TriplaneGaussianReconLib.data.alignment import aligned_to
from TriplaneGaussianReconLib.data.geometry import Axis, Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.model_space import ModelSpaceData
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.data.slabs import HALO
from TriplaneGaussianReconLib.errors import Cancelled, InputError
from TriplaneGaussianReconLib.fitting import slab_fitting
from TriplaneGaussianReconLib.fitting.slab_fitting import Fitting
from TriplaneGaussianReconLib.fitting.task import Task
from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation
from TriplaneGaussianReconLib.pipeline import reconstruction
from TriplaneGaussianReconLib.pipeline.reconstruction import STAGES, Memory, Progress, Reconstruction, reconstruct
from TriplaneGaussianReconLib.prediction.hidden_slices import Hiding
from TriplaneGaussianReconLib.rendering.volume import expected_error_on_grid
from TriplaneGaussianReconLib.runtime.devices import SelectedDevice
from TriplaneGaussianReconLib.runtime.memory import release

SEAM = 1e-6  # largest difference from the result in one go, as a share of the intensity range
ANOTHER_DEVICE = 2e-3  # the same between a CPU and a GPU
PLENTY = Memory(budget=10 ** 15)
UNTAUGHT = replace(PRESETS["fast"], super_resolution=None)
# Labels are filled in few steps, so that this is quick.
BALANCED = replace(PRESETS["balanced"], label_completion=replace(PRESETS["balanced"].label_completion, steps=12))


def cropped(name: str, part: tuple[slice, slice, slice]) -> tuple[Image, Segmentation]:
    """Part of a sample scan with its labels; float32, so that differences are not rounded away."""
    image = read_image(SAMPLES / f"{name}.nii.gz")
    labels = aligned_to(read_segmentation(SAMPLES / f"{name}.seg.nrrd"), image.grid)
    grid = replace(image.grid, shape=image.array[part].shape, origin=image.grid.index_to_physical(
        np.array([p.start or 0 for p in reversed(part)])))
    layers = np.ascontiguousarray(labels.layers[(slice(None), *part)])
    return (Image(np.ascontiguousarray(image.array[part], np.float32), grid),
            Segmentation(layers, tuple(s for s in labels.segments if (layers[s.layer] == s.value).any()), grid))


def memory_for(observations: Observations, slabs: int, **options: Any) -> Memory:
    """A budget for about so many slabs."""
    gaps = len(observations.stacks[0].planes) - 1
    observed = ModelSpaceData.of(observations, Grid((1, 1, 1)), PRESETS["fast"].model_space,
                                PRESETS["fast"].gap_sampling)
    task = Task(observed, None, None, {}, None, {}, PRESETS["fast"], 0)  # type: ignore[arg-type]
    each = float(task.gap_bytes().mean())
    return Memory(budget=int(each * (gaps / slabs + 2 * HALO + 0.2)), **options)


def assert_seamless(split: Reconstruction, whole: Reconstruction) -> None:
    spread = float(np.ptp(whole.volume.array))
    assert split.report.slabs >= 3 and whole.report.slabs == 1
    assert np.abs(split.volume.array - whole.volume.array).max() < SEAM * spread
    assert np.abs(split.confidence.array - whole.confidence.array).max() < SEAM * spread
    assert split.report.gaussians == whole.report.gaussians
    if whole.segmentation is not None and split.segmentation is not None:
        assert (split.segmentation.layers == whole.segmentation.layers).mean() > 0.999
        assert whole.segmentation.layers.any()
    for ours, theirs in zip(split.report.residuals, whole.report.residuals, strict=True):
        assert ours.to_json() == pytest.approx(theirs.to_json(), rel=0.01, abs=1e-4 * spread)


@pytest.mark.parametrize(("name", "part", "keep_every"), [
    ("ct_spine_lumbar", (slice(6, 43), slice(None), slice(None)), 2),
    ("mr_fetal_stack1", (slice(None), slice(20, 84), slice(20, 90)), 2)])
def test_slabs_of_real_scans_leave_no_seam(name: str, part: tuple[slice, slice, slice], keep_every: int) -> None:
    image, labels = cropped(name, part)
    observations = Observations.from_volume(image, {"k": Selection.every(image.grid.count("k"), keep_every)}, labels)
    whole = reconstruct(observations, image.grid, device="cpu", memory=PLENTY)
    assert_seamless(reconstruct(observations, image.grid, device="cpu", memory=memory_for(observations, 4)), whole)


@pytest.fixture(scope="module")
def scan(textured: Callable[..., np.ndarray]) -> Image:
    volume = 1000 * textured((25, 26, 28), (0.7, -0.5), seed=5)
    return Image(volume, Grid(volume.shape, (5.0, -3.0, 40.0), (1.0, 1.0, 1.2)))


@pytest.fixture(scope="module")
def labelled(scan: Image) -> Segmentation:
    return Segmentation.from_labelmap((np.digitize(scan.array, [350, 600])).astype(np.uint8), scan.grid)


@pytest.fixture(scope="module")
def observations(scan: Image, labelled: Segmentation) -> Observations:
    return Observations.from_volume(scan, {"k": Selection.every(25, 2)}, labelled)


@pytest.fixture(scope="module")
def some_labelled(observations: Observations) -> Observations:
    """The same, with labels on every fourth of the used slices alone."""
    stack, labelled = observations.stacks[0], np.arange(13) % 4 == 0
    assert stack.layers is not None
    return replace(observations, stacks=(replace(
        stack, layers=stack.layers * labelled[:, None, None].astype(stack.layers.dtype), labelled=labelled),))


@pytest.fixture(scope="module")
def whole(scan: Image, observations: Observations) -> Reconstruction:
    return reconstruct(observations, scan.grid, device="cpu", memory=PLENTY)


def test_slabs_with_labels(scan: Image, observations: Observations, whole: Reconstruction, tmp_path: Path) -> None:
    """The model is put aside on disk, is what the output shows, and goes with the last who holds it."""
    result = reconstruct(observations, scan.grid, device="cpu", memory=memory_for(observations, 4, folder=tmp_path))
    assert_seamless(result, whole)
    assert len(result.model.shards) >= 12 and len(list(tmp_path.iterdir())) == 1
    np.testing.assert_allclose(draw_grid(result.model, scan.grid, "cpu").image, result.volume.array, atol=2e-3)
    np.testing.assert_array_equal(expected_error_on_grid(result.model, scan.grid), result.confidence.array)
    del result
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_slabs_of_which_no_model_is_kept(scan: Image, observations: Observations, whole: Reconstruction,
                                         tmp_path: Path) -> None:
    memory = memory_for(observations, 4, folder=tmp_path, keep_model=False)
    result = reconstruct(observations, scan.grid, device="cpu", memory=memory)
    assert_seamless(result, whole)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="were not kept"):
        draw_grid(result.model, scan.grid, "cpu")


def test_gaps_that_nobody_looks_at_change_nothing_elsewhere(scan: Image) -> None:
    """Three slices are damaged: with the model all gaps are filled, without it those two alone."""
    observations = Observations.from_volume(scan, {"k": Selection.parse(25, "all").excluding([9, 10, 17])})
    whole, some = (reconstruct(observations, scan.grid, device="cpu", preset=UNTAUGHT,
                               memory=replace(PLENTY, keep_model=keep)) for keep in (True, False))
    spread = float(np.ptp(whole.volume.array))
    assert some.report.gaussians < 0.7 * whole.report.gaussians
    for ours, theirs in ((some.volume, whole.volume), (some.confidence, whole.confidence)):
        assert np.abs(ours.array - theirs.array).max() < 10 * SEAM * spread


def test_slabs_with_slices_of_three_directions(scan: Image) -> None:
    observed: dict[Axis, Selection] = {"k": Selection.every(25, 2), "j": Selection.every(26, 9),
                                      "i": Selection.every(28, 9)}
    observations = Observations.from_volume(scan, observed)
    whole = reconstruct(observations, scan.grid, device="cpu", memory=PLENTY)
    assert_seamless(reconstruct(observations, scan.grid, device="cpu", memory=memory_for(observations, 4)), whole)


def test_slabs_and_an_oblique_output(scan: Image, observations: Observations, rotation: tuple) -> None:
    """Every plane of the output crosses several slabs."""
    tilted = Grid((20, 16, 16), spacing=(1.2, 1.2, 1.2), direction=rotation)
    centre = scan.grid.index_to_physical(np.array([13.5, 12.5, 12.0]))
    tilted = replace(tilted, origin=centre - (tilted.index_to_physical(np.array([7.5, 7.5, 9.5]))))
    whole, split = (reconstruct(observations, tilted, device="cpu", memory=memory)
                    for memory in (PLENTY, memory_for(observations, 4, keep_model=False)))
    assert_seamless(split, whole)


def test_slabs_of_uneven_slices(scan: Image) -> None:
    indices = (2, 3, 5, 6, 7, 10, 11, 12, 14, 15, 17, 20, 21, 22)
    observations = Observations.from_volume(scan, {"k": Selection(indices, 25)})
    whole = reconstruct(observations, scan.grid, device="cpu", memory=PLENTY)
    assert_seamless(reconstruct(observations, scan.grid, device="cpu", memory=memory_for(observations, 4)), whole)


def test_progress_never_goes_back(scan: Image, observations: Observations, some_labelled: Observations) -> None:
    told: list[Progress] = []
    result = reconstruct(some_labelled, scan.grid, preset=BALANCED, device="cpu", memory=memory_for(observations, 4),
                         progress=told.append)
    done = [p.done for p in told]
    assert done == sorted(done) and done[0] == 0.0 and done[-1] == pytest.approx(1.0)
    assert {p.stage for p in told} == set(STAGES) - {"motion", "stacks", "training"}
    assert list(result.report.seconds) == list(STAGES)


@pytest.fixture(scope="module")
def stages(scan: Image, observations: Observations, some_labelled: Observations) -> list[str]:
    """The stage of each report of progress, where nothing is stopped."""
    told: list[str] = []
    reconstruct(some_labelled, scan.grid, preset=BALANCED, device="cpu",
                memory=memory_for(observations, 3, keep_model=False), progress=lambda p: told.append(p.stage))
    return told


@pytest.mark.parametrize("stage", [name for name in STAGES if name not in ("motion", "stacks", "training")])
@pytest.mark.parametrize("visit", [0, 1])
def test_stopping_leaves_nothing_behind(scan: Image, observations: Observations, some_labelled: Observations,
                                        stages: list[str], tmp_path: Path, stage: str, visit: int) -> None:
    """When each stage begins, and when it is nearly done."""
    # Learning reports by the clock, everything else by what is done.
    enough = max(stages.count(stage) - 2, 1) if visit and stage != "learning" else 1
    seen: list[str] = []
    with pytest.raises(Cancelled):
        reconstruct(some_labelled, scan.grid, preset=BALANCED, device="cpu",
                    memory=memory_for(observations, 3, folder=tmp_path), progress=lambda p: seen.append(p.stage),
                    should_stop=lambda: seen.count(stage) >= enough)
    assert not list(tmp_path.iterdir())


def running_out(monkeypatch: pytest.MonkeyPatch, method: str, times: Callable[[Fitting, int], bool]) -> None:
    """Replace a method of Fitting by a stand-in that runs out of memory whenever `times` says so."""
    real, calls = getattr(Fitting, method), list[int]()

    def stand_in(self: Fitting, number: int, *more: Any, **options: Any) -> Any:
        calls.append(number)
        if times(self, len(calls)):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than there is.")
        return real(self, number, *more, **options)

    monkeypatch.setattr(Fitting, method, stand_in)


@pytest.mark.parametrize(("slabs", "call"), [(1, 1), (4, 3)])
def test_running_out_of_memory_once_halves_the_slab(scan: Image, observations: Observations, whole: Reconstruction,
                                                    monkeypatch: pytest.MonkeyPatch, slabs: int, call: int) -> None:
    running_out(monkeypatch, "_fit", lambda _, calls: calls == call)
    memory = memory_for(observations, slabs) if slabs > 1 else PLENTY
    with pytest.warns(RuntimeWarning, match="Memory did not suffice for .* gaps at a time"):
        result = reconstruct(observations, scan.grid, device="cpu", memory=memory)
    assert result.report.slabs == slabs + 1
    assert len(result.report.notes) == 1
    assert np.abs(result.volume.array - whole.volume.array).max() < SEAM * np.ptp(whole.volume.array)


def test_what_fits_nowhere_is_refused(scan: Image, observations: Observations, monkeypatch: pytest.MonkeyPatch) -> None:
    running_out(monkeypatch, "_fit", lambda *_: True)
    with pytest.warns(RuntimeWarning), pytest.raises(InputError, match="not enough memory.*close other programs.*crop"):
        reconstruct(observations, scan.grid, device="cpu", memory=PLENTY)


def test_a_preset_that_cannot_be_cut_is_refused(scan: Image, observations: Observations,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    running_out(monkeypatch, "_fit", lambda *_: True)
    with pytest.raises(InputError, match="'paper-displaced' cannot be split"):
        reconstruct(observations, scan.grid, device="cpu", preset="paper-displaced")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_without_memory_hands_over_to_the_cpu_unless_demanded(
        scan: Image, observations: Observations, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """With stand-ins: a GPU that has no room for anything."""
    whole = reconstruct(observations, scan.grid, preset=UNTAUGHT, device="cpu", memory=PLENTY)
    monkeypatch.setattr(reconstruction, "choose", lambda _: SelectedDevice("cuda", torch.device("cuda"), "A GPU."))
    fit_ensemble, tried = reconstruction.fit_ensemble, list[str]()

    def stand_in(hiding: Hiding, *more: Any) -> object:
        tried.append(hiding.device.type)
        if hiding.device.type == "cuda":
            raise torch.OutOfMemoryError("stand-in")
        return fit_ensemble(hiding, *more)

    monkeypatch.setattr(reconstruction, "fit_ensemble", stand_in)
    monkeypatch.setattr(reconstruction, "release", lambda device: None)
    running_out(monkeypatch, "_fit", lambda self, _: self.chosen.device.type == "cuda")
    with pytest.warns(RuntimeWarning):
        if device == "cuda":
            with pytest.raises(InputError, match="not enough memory.*use device 'cpu', or crop"):
                reconstruct(observations, scan.grid, preset=UNTAUGHT, device=device, memory=PLENTY)
            return
        result = reconstruct(observations, scan.grid, preset=UNTAUGHT, device=device, memory=PLENTY)
    assert tried == ["cuda", "cpu"]
    assert result.report.provenance.device == "cpu" and "went on with the CPU" in result.report.notes[-1]
    assert np.abs(result.volume.array - whole.volume.array).max() < SEAM * np.ptp(whole.volume.array)


def test_other_errors_are_not_taken_for_lack_of_memory(scan: Image, observations: Observations,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("an illegal memory access")

    monkeypatch.setattr(slab_fitting, "refine", broken)
    with pytest.raises(RuntimeError, match="illegal"):
        reconstruct(observations, scan.grid, device="cpu", memory=PLENTY)


MEASURED = """
import sys, threading
from dataclasses import replace
import numpy as np, psutil
sys.path.insert(0, sys.argv[1])
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.pipeline.reconstruction import Memory, reconstruct
from TriplaneGaussianReconLib.data.selection import Selection

def run(count):
    j, i = np.mgrid[:96, :96]
    volume = np.stack([(500 + 400 * np.sin((i + k) / 7) * np.cos(j / 9)) for k in range(count)]).astype(np.int16)
    image = Image(volume, Grid(volume.shape))
    observations = Observations.from_volume(image, {"k": Selection.every(count, 2)})
    return reconstruct(observations, image.grid, preset=replace(PRESETS["fast"], super_resolution=None), device="cpu",
                       memory=Memory(int(sys.argv[3]), keep_model=False))

run(9)  # whatever is loaded or compiled at first use
process, highest, stop = psutil.Process(), [0], threading.Event()
before = process.memory_info().rss
def watch():
    while not stop.wait(0.01):
        highest[0] = max(highest[0], process.memory_info().rss)
watcher = threading.Thread(target=watch)
watcher.start()
slabs = run(int(sys.argv[2])).report.slabs
stop.set()
watcher.join()
print(slabs, highest[0] - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_slices() -> None:
    """Three times the slices add what they are made of, in and out, and no Gaussians."""
    def measured(count: int) -> tuple[int, int]:
        root = str(ROOT)
        printed = subprocess.run([sys.executable, "-c", MEASURED, root, str(count), str(100 * 2 ** 20)], check=True,
                                 capture_output=True, text=True).stdout
        slabs, grown = printed.split()[-2:]
        return int(slabs), int(grown)

    (few, less), (many, more) = measured(41), measured(121)
    assert few >= 2 and many >= 2 * few
    assert more - less < 250 * 80 * 96 * 96  # bytes per voxel; some 30 to 190, most of it fragments, in one go 500


def test_a_blind_start_has_no_more_gaussians_than_pixels(scan: Image, observations: Observations) -> None:
    """More would tell nothing, and each plane would be drawn from all of them: minutes on a GPU."""
    result = reconstruct(observations, scan.grid, preset=in_steps(preset_named("paper"), 1), device="cpu")
    assert 0.5 * scan.array.size < result.report.gaussians < 1.5 * scan.array.size


@pytest.mark.gpu
def test_a_gpu_learns_what_the_cpu_learns(scan: Image, observations: Observations, whole: Reconstruction) -> None:
    """Learning goes its own way on either, and arrives at about the same."""
    result = reconstruct(observations, scan.grid, device="cuda")
    wrong = [np.sqrt(np.mean((each.volume.array.astype(float) - scan.array) ** 2)) for each in (result, whole)]
    assert wrong[0] == pytest.approx(wrong[1], rel=0.05)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(scan: Image, observations: Observations) -> None:
    """In one go and in slabs, labels included, where nothing is learnt from lines."""
    whole = reconstruct(observations, scan.grid, preset=UNTAUGHT, device="cpu", memory=PLENTY)
    spread = float(np.ptp(whole.volume.array))
    for memory in (PLENTY, memory_for(observations, 4)):
        result = reconstruct(observations, scan.grid, preset=UNTAUGHT, device="cuda", memory=memory)
        assert result.report.provenance.device == "cuda"
        assert result.segmentation is not None and whole.segmentation is not None
        far = [float(np.abs(ours.array - theirs.array).max() / spread)
               for ours, theirs in ((result.volume, whole.volume), (result.confidence, whole.confidence))]
        assert max(far) < ANOTHER_DEVICE
        assert (result.segmentation.layers == whole.segmentation.layers).mean() > 0.998


@pytest.mark.gpu
def test_a_gpu_repeats_bit_by_bit(scan: Image, observations: Observations) -> None:
    for preset in ("fast", "paper"):
        one, other = (reconstruct(observations, scan.grid, preset=preset, device="cuda") for _ in range(2))
        assert one.volume.array.tobytes() == other.volume.array.tobytes()
        assert one.confidence.array.tobytes() == other.confidence.array.tobytes()


@pytest.mark.gpu
def test_a_gpu_without_enough_memory_gets_less_at_a_time(textured: Callable[..., np.ndarray]) -> None:
    """Memory that runs out although it was planned with: the work is halved until it fits, and this is said."""
    volume = 1000 * textured((61, 160, 160), (0.7, -0.5), seed=5)
    image = Image(volume, Grid(volume.shape))
    observations = Observations.from_volume(image, {"k": Selection.every(61, 2)})
    total, before = torch.cuda.get_device_properties(0).total_memory, torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    whole = reconstruct(observations, image.grid, preset=UNTAUGHT, device="cuda")
    peak = torch.cuda.max_memory_allocated() - before
    release(torch.device("cuda"))
    held = torch.cuda.memory_reserved()  # what other tests still hold
    try:
        for share in (0.7, 0.5, 0.35, 0.25):  # until the fitting itself, not only another stage, has too little
            torch.cuda.set_per_process_memory_fraction((held + share * peak) / total)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                split = reconstruct(observations, image.grid, preset=UNTAUGHT, device="cuda", memory=PLENTY)
            if split.report.slabs > 1:
                break
        assert any("half as many" in str(warning.message) for warning in caught)
        torch.cuda.set_per_process_memory_fraction((held + 0.04 * peak) / total)
        with pytest.raises(InputError, match="not enough memory.*device 'cpu'"), pytest.warns(RuntimeWarning):
            reconstruct(observations, image.grid, preset=UNTAUGHT, device="cuda", memory=PLENTY)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert split.report.slabs > 1 and "half as many" in " ".join(split.report.notes)
    assert np.abs(split.volume.array - whole.volume.array).max() < ANOTHER_DEVICE * 1000
