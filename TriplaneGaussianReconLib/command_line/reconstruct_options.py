"""Options that decide how one case is reconstructed, whether alone or in a cohort."""
from __future__ import annotations

import argparse

from ..config.names import MOTIONS
from ..config.presets import DEFAULT_PRESET, PRESETS
from ..config.texture import DEFAULT_TEXTURE, TEXTURES
from .common_options import AXES, add_computing
from .values import path, spacing, whole

_SLICES = """\
Slices are counted from 0 along the slice axis. Give one of --keep-every, --hide-every, --keep-percent, --slices and
--trust, or none to use all slices.
"""


def add_slices(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Add which slices are used; returns the group of the options of which there is one."""
    observed = parser.add_argument_group("slices to use", _SLICES)
    observed.add_argument("--axis", choices=AXES, help="the slice axis: i, j, k are the first to third index of the "
                         "file; default: the axis of largest spacing, k when equal")
    chosen = observed.add_mutually_exclusive_group()
    chosen.add_argument("--keep-every", type=int, metavar="K", help="use slices 0, K, 2 K, ...")
    chosen.add_argument("--hide-every", type=int, metavar="K", help="use all but every Kth slice; the first and last "
                        "are always used")
    chosen.add_argument("--keep-percent", type=float, metavar="P", help="use P %% of the slices, spread evenly")
    chosen.add_argument("--slices", metavar="LIST", help="use these, for example 0,4,8-20; or segmented: those "
                        "that carry a label")
    observed.add_argument("--exclude", metavar="LIST", help="damaged slices of the slice axis, not to be used in "
                          "any case, for example 7,12")
    observed.add_argument("--labels-on", metavar="drawn|LIST|every:K|all", help="which of these slices carry labels; "
                          "on the others labels are filled, guided by the image. drawn, the default: those on which "
                          "something is drawn; drawn,40,48: and 40 and 48, which are truly empty; 0,8,16 or every:8: "
                          "just these; all: none are filled")
    return chosen


def add_trust(chosen: argparse._MutuallyExclusiveGroup) -> None:
    """Add slices of several axes; chosen: the group of the options of which there is one."""
    chosen.add_argument("--trust", action="append", metavar="AXIS:SPEC", help="use slices across AXIS; repeat it to "
                        "combine axes. SPEC is a list as for --slices, every:K, hide:K, P%% or all; for example "
                        "k:every:4")


def add_region(output: argparse._ArgumentGroup) -> None:
    """Add which part of one volume is reconstructed."""
    output.add_argument("--region", metavar="I-I,J-J,K-K", help="reconstruct this part alone, which is "
                        "quicker where it is much smaller than the volume: the first and the last voxel along i, j and "
                        "k, counted from 0, for example 100-180,60-140,10-20. Slices keep their numbers")


def add_motion(several: argparse._ArgumentGroup) -> None:
    """Add what concerns several volumes together; several: the group of their options."""
    several.add_argument("--motion", choices=MOTIONS, help="stack, the default: find how the body lies in "
                         "each volume; none: as the headers and --to-first say")
    several.add_argument("--output-grid", type=path, metavar="union|first|FILE", help="voxels of the result: union, "
                         "the default: cubic ones about all volumes, with --output-spacing MM of that size; first: "
                         "those of the first volume, made finer as without others; or those of a volume file")


def add_voxels(output: argparse._ArgumentGroup) -> None:
    """Add which voxels the result has."""
    output.add_argument("--output-spacing", type=spacing, metavar="isotropic|input|MM", help="distance of the slices "
                        "of the result: isotropic is the smaller spacing within the slices, input that of VOLUME; "
                        "default: isotropic if all slices are used and no labels filled on them, else input; of "
                        "several volumes the side of cubic voxels about all, MM or isotropic, the default: the "
                        "smallest pixel; with --output-grid first as for one, with a FILE not at all")
    output.add_argument("--cover-voxels", action="store_true", help="let the result reach to the outer faces of the "
                        "outermost used slices, by whole slices, instead of from centre to centre")
    output.add_argument("--paste-trusted", action="store_true", help="put the used slices into the result as they "
                        "were, instead of as the model shows them; the model itself stays as it is")


def add_how(parser: argparse.ArgumentParser) -> None:
    """Add preset, texture, and where to compute."""
    how = parser.add_argument_group("how")
    how.add_argument("--preset", choices=PRESETS, default=DEFAULT_PRESET,
                     help=" ".join(f"{name}: {preset.description}" for name, preset in PRESETS.items())
                     + " Default: %(default)s")
    how.add_argument("--steps", type=whole, metavar="N", help="train Gaussians in so many steps instead "
                     "of the preset's: only with presets that train them, which take long on a CPU")
    how.add_argument("--texture", choices=TEXTURES, default=DEFAULT_TEXTURE, help="plain, the default: what is "
                     "expected, with the least error; even: filled slices get the noise that they lack beside used "
                     "ones, so that scrolling does not flicker: for looking, not for measuring")
    add_computing(how)
