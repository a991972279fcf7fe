"""What reconstructions cost: the table from which `estimates` tells what to expect, and nothing else.

`Testing/Benchmarks/estimates.py` measures the costs anew on the computer at hand, and prints this table as it has to
stand here.  All seconds are those of the computer of `REFERENCE`; on another one they are multiplied by how many times
as long it takes for the same work, see `calibration`.

- CPU, two cores of an Intel Xeon with bfloat16: fitted to `fast` on cubes of 64 to 160 voxels (0.2 to 3 million
  Gaussians, two labels or none), which it matches to 10 % in time and memory, and for 31 million.  `balanced` goes
  through two cubes without labels and one with two (64).  `paper` is the fit of a former version on another machine.
- GPU, an NVIDIA H200: the first reconstruction of a process, cubes of 64 to 160 voxels (`fast` five, one of them with
  two labels, `balanced` three, `best` one without labels, whose labels are guessed from `balanced` by their steps).
  A second one in the same process takes a second less.
- Labels of `fast`: measured with 1000 steps of their network and reckoned for the 300 that it takes now, from 9.5 ms a
  step on the CPU and 1.2 ms on the GPU.
- The share of the fusion: from the stages of `balanced` on a cube of 64 voxels, on two cores; a guess for `best` and
  for GPUs.
- Filling labels, on two cores: `fast` on three volumes (0.25 to 5.6 million voxels, 1 to 45 labels, 1 to 900 steps),
  which it matches to 25 % in time.  On a GPU a tenth of it is a guess.
- Several volumes, `fast`: two and three stacks simulated from a brain (cubes of 48 to 96 voxels, four in a slice),
  on two cores of an AMD EPYC with bfloat16 that other programs used as well: single cases are missed by up to 40 %.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DeviceKind = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Reference:
    """What `calibration` measured on the computer on which the costs were measured, in seconds.

    Attributes:
        learning: A step of each of two networks that are trained at a time.
        drawing: A pass over memory that computes little.
    """

    learning: float
    drawing: float


REFERENCE: dict[DeviceKind, Reference] = {"cpu": Reference(0.0103, 0.00132), "cuda": Reference(0.00187, 2.93e-5)}


@dataclass(frozen=True)
class Cost:
    """What a preset costs: seconds for any volume, further seconds with labels, and seconds per million Gaussians.

    memory: of a Gaussian, as a multiple of what it takes in `fast`.  per_step: where Gaussians start blind to the
    image, and are as many for any volume, seconds for a step of training and a million used pixels instead.
    """

    fixed: float
    labels: float
    per_million: float
    is_measured: bool = True
    memory: float = 1.0
    per_step: float = 0.0


COSTS: dict[DeviceKind, dict[str, Cost]] = {
    "cpu": {"fast": Cost(5.1, 4.3, 1.9), "balanced": Cost(88.0, 26.5, 8.1),
            "best": Cost(1700.0, 400.0, 40.0, is_measured=False),  # a guess from single steps of its networks
            "paper": Cost(9.4, 5.0, 0.0, memory=3.8, per_step=2.2, is_measured=False),  # from four steps
            "paper-normalised": Cost(9.4, 5.0, 0.0, memory=3.8, per_step=2.0, is_measured=False),
            "paper-displaced": Cost(9.4, 5.0, 22.0, memory=3.8)},
    "cuda": {"fast": Cost(1.8, 1.8, 0.23), "balanced": Cost(5.8, 3.8, 0.46), "best": Cost(19.8, 7.6, 0.46),
             "paper": Cost(2.0, 0.5, 0.0, memory=2.2, per_step=0.027, is_measured=False),  # from one volume
             "paper-normalised": Cost(2.0, 0.5, 0.0, memory=2.2, per_step=0.008, is_measured=False),
             "paper-displaced": Cost(0.5, 0.5, 0.6, memory=2.2)},
}
# Bytes: for the program itself, for each Gaussian, and more for each Gaussian with labels; on the host and on the GPU.
HOST_BYTES: dict[DeviceKind, tuple[float, float, float]] = {"cpu": (0.65e9, 250.0, 35.0), "cuda": (2.0e9, 85.0, 60.0)}
GPU_BYTES = (0.3e9, 300.0, 330.0)
FUSION_SHARE = 0.44  # of `fixed`, in presets that learn which prediction to believe where
# Bytes of a voxel of the result and of the input: its type, the expected error, slices in the model's units.
RESULT_BYTES = 8.0
SLAB_SHARE = 0.75  # of what a slab is planned with, that it takes
# Filling labels: for the program itself, which is all where no network is trained; for a pixel of a step and a channel
# of the network; for a million voxels; how much more for each label; bytes of a voxel, and more for each label; how
# much longer a GPU takes.
START_BYTES: dict[DeviceKind, float] = {"cpu": 0.5e9, "cuda": 2.0e9}
START_SECONDS: dict[DeviceKind, float] = {"cpu": 2.5, "cuda": 1.0}
STEP_SECONDS, STEP_LABEL = 1.6e-7, 0.02
VOXEL_SECONDS, VOXEL_LABEL_SECONDS = 0.9, 0.035
VOXEL_BYTES, VOXEL_LABEL_BYTES = 60.0, 2.5
FILLING: dict[DeviceKind, float] = {"cpu": 1.0, "cuda": 0.1}
# Several volumes, `fast`: seconds for any, for a million pairs of a pixel and a Gaussian, and for the motion of each
# further volume; bytes of the program, and of the host as a multiple of what is planned with; the share a GPU takes.
STACKS_FIXED, STACKS_PER_MILLION, STACKS_MOTION = 13.5, 1.15, 1.5
STACKS_BYTES: dict[DeviceKind, float] = {"cpu": 0.95e9, "cuda": 2.0e9}
STACKS_MEMORY = 1.3
STACKS_ON: dict[DeviceKind, float] = {"cpu": 1.0, "cuda": 0.1}
