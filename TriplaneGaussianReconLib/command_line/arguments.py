"""The options of the command line.  Imports nothing that takes long, so that `--help` is quick."""
from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from ..runtime.standard_streams import visible
from . import cohort_options, evaluate_options
from .common_options import AXES, add_input, add_messages, add_thickness, add_threads
from .reconstruct_options import add_how, add_motion, add_region, add_slices, add_trust, add_voxels
from .values import path, positive, vector, window
from .volume_options import split

OUTPUT_GRIDS = ("union", "first")  # besides files
_PROGRAM = "triplane-gaussian-recon"
_CHOICES = ("keep_every", "hide_every", "keep_percent", "slices")  # of which one volume has one
_OF_MANY = ("bids", "cohort")  # commands that pass options on to each of many cases
_OF_ONE = ("labels", "to_first")  # which cannot be the same for several volumes


_EXIT_CODES = """\
exit codes:
  0    done
  1    it failed; an unexpected error comes with a traceback
  2    wrong usage, or input that cannot be used; the message says what to change
  3    a device or a Python package is missing; cohort: some cases failed, OUT/status.csv says which and why
  4    a result cannot be written, for instance because the disk is full
  5    not enough memory
  130  stopped with Ctrl-C, or by SIGTERM or SIGHUP
"""

_FORMATS = """\
files:
  Volumes are read from NIfTI, NRRD, MetaImage, DICOM, FreeSurfer, .npz, and folders of DICOM, PNG, TIFF or JPEG slices;
  they are written as .nrrd, .nii.gz, .nii, .mha or .npz, or if VOLUME is DICOM as a folder of DICOM slices: a path
  that ends in a slash or has no extension.  The folder is to be new or empty; patient, study and frame of reference are
  those of VOLUME.  Values have 16 bits there: whole numbers are exact where they fit.
  Labels are label maps in the same formats, .seg.nrrd of 3D Slicer and DICOM SEG (.dcm), which keep names, codes,
  colours and overlaps, or an RT structure set, to be read alone.  Labels on other voxels than VOLUME are resampled.
  A result appears whole or not at all; existing files are replaced.
"""

_USAGE = "%(prog)s [options] VOLUME [options of it] [VOLUME [options of it] ...]"

_RECONSTRUCT = """\
Fill the gaps between the slices of VOLUME.

By default all slices are used and the result is finer along the slice axis, so that its voxels are about as thick
as they are wide.  If only some slices are to be used (every 4th, say, or all but damaged ones), choose them below:
the result then has the voxels of the input, and the other slices have no influence on it.

If LABELS are drawn on some of the used slices alone, they are filled on the others, guided by the image. The result
then has the voxels of the input and its very image; --output can be left out.

Several volumes of one body, each thick in another direction or not, make one result, in the place and grey values of
the first. --labels, --mask, --series, --volume-number, --spacing, --thickness, --profile, --to-first and all under
"slices to use" but --trust belong to the volume they follow; before the first volume they are of all.
"""

_RECONSTRUCT_EXAMPLES = """\
examples:
  A stack with thick slices, made isotropic:
    triplane-gaussian-recon reconstruct thick.nii.gz --output isotropic.nii.gz
  Slices 17 and 30 to 32 are damaged; a segmentation made in 3D Slicer goes along:
    triplane-gaussian-recon reconstruct ct.nrrd --labels ct.seg.nrrd --exclude 17,30-32 \\
        --output repaired.nrrd --output-labels repaired.seg.nrrd
  Every 4th slice is used; show how far the result can be trusted, and keep the model:
    triplane-gaussian-recon reconstruct us.nrrd --keep-every 4 --output dense.nrrd \\
        --output-confidence error.nrrd --save-model dense.safetensors --report report.json
  A structure was drawn on every 8th slice or so; fill it on the slices between, and tell how certain it is there:
    triplane-gaussian-recon reconstruct ct.nrrd --labels ct.seg.nrrd --output-labels filled.seg.nrrd \\
        --output-certainty certainty.nrrd --report report.json
  Slices of three directions together:
    triplane-gaussian-recon reconstruct t1.nii.gz --trust k:every:4 --trust j:every:8 --trust i:10,60,110 \\
        --output dense.nii.gz
  Three scans of one knee with slices in three directions; slices 0 and 1 of the second are damaged:
    triplane-gaussian-recon reconstruct axial.nii.gz sagittal.nii.gz --exclude 0,1 coronal.nii.gz --thickness 3.5 \\
        --output knee.nii.gz --output-motion motion.json

"""

_RENDER = """\
Draw one plane of a saved model as an image: any plane by a point and its normal, or one across an axis.

Points are in the volume's physical coordinates, LPS millimetres (x to the patient's left, y to the back, z to the
head); 3D Slicer shows RAS, where x and y have the opposite sign. The picture of a plane is turned as radiologists look
at it, whichever way the normal points. Outside of the model it has the lowest value of the used slices.
"""

_RENDER_EXAMPLES = """\
examples:
  An oblique plane:
    triplane-gaussian-recon render dense.safetensors --point -10,20,35 --normal 1,0,0.5 --output oblique.nrrd
  A picture of the coronal plane of a CT at y = -20 mm, in a bone window, with pixels half as large:
    triplane-gaussian-recon render dense.safetensors --axis coronal --position -20 --window 400,1800 --zoom 2 \\
        --output coronal.png

"""

_EXPORT = """\
Write the Gaussians of a saved model as a .ply for viewers of Gaussian splats (needs the package gsplat).

Centres and sizes are in LPS millimetres, colours are the grey values. A viewer blends all Gaussians along the line of
sight; what it shows looks like the object from outside and is no slice of the volume. Labels are left out.
"""


class _Parser(argparse.ArgumentParser):
    """Repeats what was typed without what it would do to a terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(visible(message))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the arguments of the program, those of the process if None.

    `stacks` has the options of each volume where there are several, or a single one whose slices average, with its path
    as `volume`; what belongs to a volume is then that of the first, too.

    Raises:
        SystemExit: After `--help`, `--version` and wrong usage.
    """
    words = _with_values(sys.argv[1:] if argv is None else argv)
    command, of_whole = words[0] if words else "", _Parser(add_help=True)
    if command not in ("reconstruct", "evaluate"):
        arguments = build_parser().parse_args(words)
        arguments.case_options = cohort_options.typed_options(words) if command in _OF_MANY else ()
        return arguments
    of_volume = _volume_parser(command)
    if command == "reconstruct":
        _add_reconstruct(of_whole)
    else:
        evaluate_options.add_options(of_whole)
    options = {name: action.nargs != 0 for name, action in of_whole._option_string_actions.items()}
    found = split(words[1:], options, of_volume._option_string_actions)
    if found is None:
        return _alone(build_parser().parse_args(words))
    arguments = build_parser(several=True).parse_args([command, *found.whole])
    for name in _OF_ONE:
        if getattr(arguments, name, None):
            of_volume.error(f"--{name.replace('_', '-')} belongs to one volume: write it after that")
    arguments.stacks = tuple(_of_volume(arguments, of_volume.parse_args(own)) for own in found.volumes)
    vars(arguments).update(vars(arguments.stacks[0]))
    return arguments


def _with_values(words: Sequence[str]) -> list[str]:
    """Join each option with the list after it that begins with a minus, which argparse would take for an option.

    Example:
        >>> _with_values(["render", "--point", "-12,3,-40", "--normal", "1,0,0"])
        ['render', '--point=-12,3,-40', '--normal', '1,0,0']
    """
    joined: list[str] = []
    for word in words:
        if joined and re.fullmatch(r"--[^=]+", joined[-1]) and re.fullmatch(r"-\.?\d[^,]*(,[^,]+)+", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _alone(arguments: argparse.Namespace) -> argparse.Namespace:
    """One volume whose slices are said to average is reconstructed as several would be."""
    if arguments.command == "reconstruct" and (arguments.thickness is not None or arguments.profile):
        arguments.stacks = (argparse.Namespace(**vars(arguments)),)
    return arguments


def _of_volume(whole: argparse.Namespace, own: argparse.Namespace) -> argparse.Namespace:
    """Return the options of one volume: its own before those of all."""
    given = vars(own)
    others = _CHOICES if any(given.get(name) is not None for name in _CHOICES) else ()
    return argparse.Namespace(**{name: getattr(whole, name) if value in (None, "") and name not in others else value
                                 for name, value in given.items()})


def _volume_parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of one of several volumes and the options that follow it."""
    parser = _Parser(prog=f"{_PROGRAM} {command}", add_help=False, usage=_USAGE)
    if command == "reconstruct":
        add_input(parser)
        add_slices(parser)
        add_thickness(parser)
    else:
        evaluate_options.add_volume_options(parser)
    return parser


def build_parser(several: bool = False) -> argparse.ArgumentParser:
    """Return the parser; `command` of the parsed arguments is the name of the module here that runs it.

    several: whether several volumes are given, for which nothing else has to be said.
    """
    parser = _Parser(
        prog=_PROGRAM, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Dense volumes and segmentations from sparse slices, with 3D Gaussians.\n"
                    "Research software, not a medical device.",
        epilog=("To begin with:\n  triplane-gaussian-recon reconstruct thick.nii.gz --output isotropic.nii.gz\n"
                "'triplane-gaussian-recon COMMAND --help' tells more about each command.\n\n" + _EXIT_CODES))
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str, description: str, examples: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=description, epilog=examples + _EXIT_CODES,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)

    _add_reconstruct(add("reconstruct", "fill the gaps between slices", _RECONSTRUCT, _RECONSTRUCT_EXAMPLES + _FORMATS
                         + "\n"))
    evaluate_options.add_options(
        add("evaluate", "hide slices, fill them, and score the result against other methods",
            evaluate_options.DESCRIPTION, evaluate_options.EXAMPLES), several)
    cohort_options.add_cohort(add("cohort", "reconstruct many cases, here or on a cluster", cohort_options.DESCRIPTION,
                                  cohort_options.EXAMPLES))
    cohort_options.add_bids(add("bids", "reconstruct a dataset in BIDS", cohort_options.BIDS_DESCRIPTION,
                                cohort_options.BIDS_EXAMPLES))
    _add_render(add("render", "draw one plane of a saved model", _RENDER, _RENDER_EXAMPLES))
    _add_info(add("info", "tell what a saved model is", "Tell what a saved model is and how it was made."))
    _add_export(add("export", "write the Gaussians of a saved model as .ply", _EXPORT))
    return parser


def _add_reconstruct(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(stacks=())
    parser.usage = _USAGE
    add_input(parser)
    add_trust(add_slices(parser))
    several = add_thickness(parser)
    add_motion(several)
    several.add_argument("--output-motion", type=path, metavar="OUT.json", help="how each volume was carried to the "
                         "first, for --to-first")
    _add_outputs(parser)
    add_how(parser)
    add_messages(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    output.add_argument("--output", type=path, metavar="OUT", help="the dense volume: a file, or a folder/ of DICOM "
                        "slices")
    output.add_argument("--output-labels", type=path, metavar="OUT", help="the dense labels: a label map, .seg.nrrd, "
                        "or .dcm for a DICOM SEG")
    output.add_argument("--output-confidence", type=path, metavar="OUT", help="the expected absolute error of each "
                        "voxel, in units of the input: the larger, the less it can be trusted")
    output.add_argument("--output-certainty", type=path, metavar="OUT", help="the probability of each voxel's label, "
                        "where labels are filled on used slices")
    output.add_argument("--output-probabilities", type=path, metavar="OUT", help="the probability of each segment, in "
                        "percent, likewise: .seg.nrrd for a fractional labelmap, or .nrrd or .nii.gz for a volume of "
                        "each segment")
    output.add_argument("--label-network", type=path, metavar="FILE.safetensors", help="where to keep what is learnt "
                        "about the labels: if the file exists, the run starts from it and takes seconds, for instance "
                        "after one more slice was drawn")
    output.add_argument("--save-model", type=path, metavar="OUT.safetensors", help="the model, for render, info and "
                        "export")
    output.add_argument("--compact-model", action="store_true", help="save the model in little room: its numbers "
                        "rounded to what can be seen, and compressed")
    output.add_argument("--report", type=path, metavar="OUT.json", help="what was used, how long it took, and a self "
                        "check")
    add_voxels(output)
    add_region(output)


def _add_render(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=path, metavar="MODEL", help="a file written by reconstruct --save-model")
    plane = parser.add_argument_group("which plane", "Either --point and --normal, or --axis.")
    plane.add_argument("--point", type=vector, metavar="X,Y,Z", help="a point of the plane, LPS mm; the centre of the "
                       "picture if there is a --size")
    plane.add_argument("--normal", type=vector, metavar="NX,NY,NZ", help="the direction across the plane, LPS, of any "
                       "length")
    plane.add_argument("--axis", choices=AXES, help="a plane across this axis. axial, coronal and sagittal mean the "
                       "exact LPS axes; i and j the columns and rows of the used slices, k across them")
    plane.add_argument("--position", type=float, metavar="MM", help="where on the axis: the LPS coordinate for axial "
                       "(z), coronal (y) and sagittal (x); for i, j, k the distance from the first pixel of the first "
                       "used slice; default: the middle of the model")
    plane.add_argument("--size", type=float, metavar="MM", help="side of the square to draw; default: all of the model")
    pixels = plane.add_mutually_exclusive_group()
    pixels.add_argument("--spacing", type=float, metavar="MM", help="pixel spacing; default: that of the used slices")
    pixels.add_argument("--zoom", type=positive, metavar="TIMES", help="make pixels so many times smaller than those "
                        "of the used slices: the model is drawn there, nothing is resampled")
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, type=path, metavar="OUT", help="a volume of one slice (.nrrd, "
                        ".nii.gz, .nii, .mha, .npz) with its place in space; or .png, 8 bit, see --window")
    output.add_argument("--window", type=window, metavar="CENTRE,WIDTH", help="of a .png: which values become black to "
                        "white, in HU for a CT, such as 40,400 for soft tissue; default: from the smallest used value "
                        "to the 99.9th percentile")
    output.add_argument("--output-labels", type=path, metavar="OUT", help="the labels on the plane, as label map or "
                        ".seg.nrrd")
    add_threads(parser)
    add_messages(parser)


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=path, metavar="MODEL", help="a file written by reconstruct --save-model")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_messages(parser)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=path, metavar="MODEL", help="a file written by reconstruct --save-model")
    parser.add_argument("output", type=path, metavar="OUT.ply", help="the file to write")
    add_messages(parser)
