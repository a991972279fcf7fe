"""Names that a user may choose, each in this one place."""
from __future__ import annotations

from typing import Literal

Backend = Literal["reference", "cpu", "cuda"]  # implementations of the rasterizer
MotionKind = Literal["stack", "none"]  # of the body between several volumes: each moves as a whole, or not

MOTIONS: tuple[MotionKind, ...] = ("stack", "none")
DEVICES = ("auto", "cpu", "cuda")  # and cuda:1 and so on, for one of several GPUs
NNUNET_EPOCHS = (1, 5, 10, 20, 50, 100, 250, 500, 750)  # of 250 steps, for which nnU-Net has a trainer
DEFAULT_NNUNET_EPOCHS = 100
SIMULATED_FACTORS = (2, 3, 4, 6)  # voxels that a slice of a simulated stack may average over
LARGEST_SEED = 2 ** 63 - 1  # what the random generators of torch take
