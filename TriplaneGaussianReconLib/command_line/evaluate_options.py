"""The options of `evaluate`."""
from __future__ import annotations

import argparse

from ..config.names import DEFAULT_NNUNET_EPOCHS, NNUNET_EPOCHS, SIMULATED_FACTORS
from .common_options import AXES, add_computing, add_input, add_messages, add_thickness
from .values import amounts, path, percent, whole

DESCRIPTION = """\
Hide slices of a volume, or their labels alone, fill them again by several methods, and print how close each comes to
the truth; or compare ways of making one volume of several, simulated or real.

Every method that fills hidden slices runs in a process of its own that is given the slices to use and nothing else.
The scores are those of the slices in between: PSNR and SSIM of the image (normalised to its 99.9th percentile),
semantic loss and Dice of the labels; higher is better but for the semantic loss. LPIPS is left out: it needs the
weights of a network, which would have to be downloaded; --paper-table takes them from a file.

With --labels-keep-every the image is known on all slices, and labels are filled by:
  nearest, shape, contour  which do not look at the image
  propagated               signed distances, carried from slice to slice along the image's optical flow
  random walker            random walks through the image to the nearest labels; for 12 labels at most
  nnunet                   nnU-Net, trained on the labelled slices alone; needs --nnunet-python, and in practice a GPU
Surfaces are compared too, in mm: the median over the labels of the mean distance, and of that which 95 % are within.

With --simulate-stacks thick stacks in several directions are made of a dense VOLUME, and the whole volume is scored:
each stack by cubic splines, their mean, least squares that knows of no motion, what the presets make of all stacks,
and, where something moved, least squares and its edge-preserving kin on stacks that did not ("clean"). Their weights
are the best ones, chosen with the truth at hand. Share is the part of the way, in dB, from the first stack to clean
least squares.

With several volumes of one body every second slice of each is hidden in turn, and predicted from all that is left:
by cubic splines from the other slices of its volume, by the mean of all volumes, registered rigidly, by plain least
squares on these, and by what the presets make of all, seen through the slice profile. PSNR is for the range of the
volume up to its 99.9th percentile; NCC is the normalised cross-correlation. --mask, --series, --volume-number,
--spacing, --axis, --thickness, --profile and --to-first belong to the volume they follow.

Besides the usual methods and the presets there are:
  innergs-style  the preset paper without its tri-plane, from a blind grid: how InnerGS optimises, not its code; slow
  eclare         self-supervised super-resolution, where every 3rd (5th, ...) slice of cubic voxels is kept; needs
                 --eclare-python, and in practice a GPU
"""

EXAMPLES = """\
examples:
  How good is the result where every 4th slice is known?
    triplane-gaussian-recon evaluate ct.nii.gz --labels ct_seg.nii.gz --keep-every 4 --figure ct.png
  A segmentation drawn on every 8th slice of a scan: how well are its labels filled?
    triplane-gaussian-recon evaluate ct.nii.gz --labels ct_seg.nii.gz --labels-keep-every 8 --figure labels.png
  The tables of the paper, on a folder of volumes:
    triplane-gaussian-recon evaluate scans --paper-table --json tables.json
  A quick look:
    triplane-gaussian-recon evaluate ct.nii.gz --keep-every 2 --methods linear,cubic,fast
  Against ECLARE, after 'python -m venv eclare' and 'eclare/bin/python -m pip install eclare':
    triplane-gaussian-recon evaluate t1.nii.gz --keep-every 3 --eclare-python eclare/bin/python
  What would two thick stacks be worth, of which the second is moved by up to 2 degrees and 2 mm?
    triplane-gaussian-recon evaluate t1.nii.gz --simulate-stacks 2 --noise 2 --profile gaussian --motion 2,2 --gain 10
  How well do three scans of one knee predict each other's slices?
    triplane-gaussian-recon evaluate axial.nii.gz sagittal.nii.gz coronal.nii.gz --thickness 3.5 --json knee.json

"""


def add_options(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Add all options; several: whether several volumes are given, of which nothing has to be said."""
    parser.set_defaults(stacks=())
    add_volume_options(parser)
    observed = parser.add_mutually_exclusive_group(required=not several)
    observed.add_argument("--keep-every", type=int, metavar="K", help="use slices 0, K, 2 K, ... and score those in "
                         "between")
    observed.add_argument("--hide-every", type=int, metavar="K", help="use all but every Kth slice and score these")
    observed.add_argument("--labels-keep-every", type=int, metavar="K", help="use the image of all slices, but the "
                          "labels of 0, K, 2 K, ... alone, and score the labels of those in between")
    observed.add_argument("--simulate-stacks", type=int, choices=(3, 2, 1), help="make so many thick stacks of VOLUME, "
                          "along k, j and i, and score what is made of them")
    observed.add_argument("--paper-table", action="store_true", help="VOLUME is a folder: the tables of the paper by "
                          "Liu et al. on the volumes in it, their figures beside ours; NAME_seg beside NAME has its "
                          "labels")
    parser.add_argument("--lpips-weights", type=path, metavar="FILE", help="with --paper-table: LPIPS too, by the "
                        "weights in a safetensors file; docs/results/paper.md tells how to write one")
    parser.add_argument("--steps", type=whole, metavar="N", help="with --paper-table: train Gaussians in so many steps")
    _add_simulation(parser)
    parser.add_argument("--each-alone", action="store_true", help="of several volumes or simulated stacks: also "
                        "reconstruct from each by itself")
    parser.add_argument("--methods", metavar="NAME,...", help="methods to compare; default: all usual ones, and "
                        "fast. A name that does not exist prints those that do. Of several volumes or simulated "
                        "stacks: presets, beside the usual methods")
    parser.add_argument("--eclare-python", type=path, metavar="PYTHON", help="the Python of an environment with "
                        "the package eclare, to compare with it")
    parser.add_argument("--nnunet-python", type=path, metavar="PYTHON", help="with --labels-keep-every: the Python of "
                        "an environment with the package nnunetv2, to compare with it")
    parser.add_argument("--nnunet-epochs", type=int, choices=NNUNET_EPOCHS, default=DEFAULT_NNUNET_EPOCHS,
                        help="how long nnU-Net is trained, in epochs of 250 steps; default: %(default)s")
    parser.add_argument("--json", type=path, metavar="OUT.json", help="all scores, also of each label")
    parser.add_argument("--figure", type=path, metavar="OUT.png", help="what was kept, the best usual "
                        "method, ours, the truth and what is wrong, on a plane across the slices; or .pdf, .svg")
    add_computing(parser)
    add_messages(parser)


def add_volume_options(parser: argparse.ArgumentParser) -> None:
    """Add a volume and what belongs to it where there are several."""
    add_input(parser)
    parser.add_argument("--axis", choices=AXES, help="the slice axis; default: the axis of largest spacing, k when "
                        "equal")
    add_thickness(parser)


def _add_simulation(parser: argparse.ArgumentParser) -> None:
    simulated = parser.add_argument_group("simulated stacks", "With --simulate-stacks; --profile is then that of all "
                                          "of them, a box by default.")
    simulated.add_argument("--factor", type=int, choices=SIMULATED_FACTORS, help="voxels in the thickness of a slice; "
                           "default: 4")
    simulated.add_argument("--noise", type=percent, metavar="PERCENT", help="its standard deviation, of the range of "
                           "the volume; default: 0")
    simulated.add_argument("--motion", type=amounts, metavar="DEGREES,MM", help="how far at most each stack but the "
                           "first is turned about each axis, and moved along it; default: 0,0")
    simulated.add_argument("--slice-motion", type=amounts, metavar="DEGREES,MM", help="likewise, the standard "
                           "deviation of how each slice moves by itself; default: 0,0")
    simulated.add_argument("--gain", type=percent, metavar="PERCENT", help="how much at most each stack but the first "
                           "is brighter or darker; default: 0")
    simulated.add_argument("--side", type=int, metavar="VOXELS", help="take the middle of the volume, at most so many "
                           "voxels long each way; default: all of it, in whole slices")
