#!/usr/bin/env python3
"""Learn what the networks of preset `fast` start from, on synthetic images alone.

    python Resources/Start/learn_start.py image [--steps N] [--seed 0] [--device cuda] [--output FILE.safetensors]
    python Resources/Start/learn_start.py labels ...

For the image one network is trained for each number of slices around a gap, as on a volume, but for the images: new
ones again and again, with gaps of all widths and slices of all thicknesses.  The one for labels learns after that, on
the labels of such images, and sees what the shipped ones predict.  No scan is read.  Without --output they go into the
file that the library ships; that took five and three minutes on an NVIDIA H200.  On one processor the same seed gives
the same file.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from image_lessons import ImageLessons
from label_lessons import LabelLessons
from lessons import LearningConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.config.self_supervised import LineNetworkConfig
from TriplaneGaussianReconLib.self_supervised.minimise import minimise
from TriplaneGaussianReconLib.self_supervised.networks import ResidualNetwork
from TriplaneGaussianReconLib.self_supervised.start import FEATURES, FILE, LABEL_PLACES, LABEL_SLICES, WAVES

STEPS = {"image": 35000, "labels": 60000}  # of what is shipped


def learnt(size: int, config: LearningConfig, seed: int, device: torch.device) -> ResidualNetwork:
    """Train a network that sees `size` slices; its outputs are to be blended by `bumps`."""
    lines = PRESETS["fast"].super_resolution
    assert lines is not None
    lessons = ImageLessons(size, config, lines, seed, device)
    network = ResidualNetwork(size, WAVES, lines.width, lines.blocks, (1, lines.kernel),
                              torch.Generator().manual_seed(seed), size + FEATURES).to(device)

    def loss_at(step: Tensor, part: slice) -> Tensor:
        around, truth, places, conditions = (each[part] for each in lessons.at(step))
        half = size // 2
        straight = torch.lerp(around[:, half - 1, None], around[:, half, None], places[..., :1])
        waves = network(around[:, :, None], conditions)[:, :, 0]
        wrong = straight + places[..., 1:] @ waves - truth
        return torch.sqrt(wrong ** 2 + lines.small_error ** 2).mean()

    _train(network, loss_at, lines, config, lessons.renew, f"{size} slices")
    return network


def learnt_for_labels(config: LearningConfig, seed: int, device: torch.device) -> ResidualNetwork:
    """Train a network that finds labels, with LABEL_SLICES and the image at LABEL_PLACES."""
    of_image, lines, size = PRESETS["fast"].super_resolution, PRESETS["fast"].label_super_resolution, LABEL_SLICES
    assert of_image is not None
    assert lines is not None
    lessons = LabelLessons(config, of_image, lines, seed, device)
    network = ResidualNetwork(2 * size + len(LABEL_PLACES), WAVES, lines.width, lines.blocks, (1, lines.kernel),
                              torch.Generator().manual_seed(seed), size + FEATURES).to(device)

    def loss_at(step: Tensor, part: slice) -> Tensor:
        masks, images, predicted, truth, fractions, blends, conditions = (each[part] for each in lessons.at(step))
        signs, half = 2.0 * masks - 1.0, size // 2
        between = torch.lerp(signs[:, half - 1, None], signs[:, half, None], fractions)
        seen = torch.cat([signs, lines.stretch * torch.cat([images, predicted], dim=1) + lines.shift], dim=1)
        found = lines.agreed * between + blends @ network(seen[:, :, None], conditions)[:, :, 0]
        return functional.binary_cross_entropy_with_logits(lines.steepness * found, truth)

    _train(network, loss_at, lines, config, lessons.renew, "labels")
    return network


def _train(network: ResidualNetwork, loss_at: Callable[[Tensor, slice], Tensor], lines: LineNetworkConfig,
           config: LearningConfig, renew: Callable[[int], None], name: str) -> None:
    """Train `network`; renew: called with the number of every step before it."""
    def tick(step: int, steps: int, loss: float) -> None:
        renew(step)
        if step % 1000 == 0:
            print(f"{name}: step {step} of {steps}, loss {loss:.5f}", flush=True)

    learning = replace(lines, steps=config.steps, batch=config.batch, rate=config.rate)
    minimise(loss_at, network.others, learning, tick, network.inner)


def learn(config: LearningConfig, seed: int, device: torch.device, sizes: Sequence[int], path: Path) -> None:
    """Train a network for each number of slices around a gap, and write all of them into one file."""
    _write(path, {str(size): learnt(size, config, seed, device) for size in sizes})


def learn_for_labels(config: LearningConfig, seed: int, device: torch.device, path: Path) -> None:
    """Train the network for labels, which sees what the networks of the image that are shipped predict; add it."""
    _write(path, {"labels": learnt_for_labels(config, seed, device)})


def _write(path: Path, networks: Mapping[str, ResidualNetwork]) -> None:
    """Write `networks` into a file, beside what else is in it."""
    tensors = load_file(path) if path.exists() else {}
    tensors |= {f"{name}.{part}": tensor.half().contiguous().cpu() for name, network in networks.items()
                for part, tensor in network.state_dict().items()}
    save_file(tensors, path)


def main() -> None:
    """Read the arguments, learn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=STEPS)
    parser.add_argument("--steps", type=int, help=f"by default {STEPS}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--output", type=Path, default=FILE)
    args = parser.parse_args()
    config = LearningConfig(args.steps or STEPS[args.what])
    lines = PRESETS["fast"].super_resolution
    assert lines is not None
    if args.what == "image":
        learn(config, args.seed, args.device, (lines.slices_around, lines.slices_around_few), args.output)
    else:
        learn_for_labels(config, args.seed, args.device, args.output)


if __name__ == "__main__":
    main()
