"""The options of the command line.  Imports nothing that takes long, so that `--help` is quick."""
from __future__ import annotations

import argparse
import re
from enum import IntEnum
from typing import NoReturn

from .. import __version__
from ..config.names import DEFAULT_NNUNET_EPOCHS, DEVICES, LARGEST_SEED, NNUNET_EPOCHS
from ..config.presets import DEFAULT_PRESET, PRESETS
from ..runtime.standard_streams import visible

AXES = ("i", "j", "k", "axial", "coronal", "sagittal")  # what Grid.named_axis knows


class ExitCode(IntEnum):
    """What the program returns; `jobs.worker` has codes of its own."""

    SUCCESS = 0
    FAILED = 1
    BAD_INPUT = 2
    MISSING = 3
    NOT_WRITTEN = 4
    NO_MEMORY = 5
    STOPPED = 130


_EXIT_CODES = """\
exit codes:
  0    done
  1    it failed; an unexpected error comes with a traceback
  2    wrong usage, or input that cannot be used; the message says what to change
  3    a device or a Python package is missing
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

_RECONSTRUCT = """\
Fill the gaps between the slices of VOLUME.

By default all slices are used and the result is finer along the slice axis, so that its voxels are about as thick
as they are wide.  If only some slices are to be used (every 4th, say, or all but damaged ones), choose them below:
the result then has the voxels of the input, and the other slices have no influence on it.

If LABELS are drawn on some of the used slices alone, they are filled on the others, guided by the image. The result
then has the voxels of the input and its very image; --output can be left out.
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

"""

_SLICES = """\
Slices are counted from 0 along the slice axis. Give one of --keep-every, --hide-every, --keep-percent, --slices and
--trust, or none to use all slices.
"""

_EVALUATE = """\
Hide slices of a volume, or their labels alone, fill them again by several methods, and print how close each comes to
the truth.

Every method runs in a process of its own that is given the slices to use and nothing else. The scores are those of
the slices in between: PSNR and SSIM of the image (normalised to its 99.9th percentile), semantic loss and
Dice of the labels; higher is better but for the semantic loss. LPIPS is left out: it needs the weights of a network,
which would have to be downloaded.

With --labels-keep-every the image is known on all slices, and labels are filled by:
  nearest, shape, contour  which do not look at the image
  propagated               signed distances, carried from slice to slice along the image's optical flow
  random walker            random walks through the image to the nearest labels; for 12 labels at most
  nnunet                   nnU-Net, trained on the labelled slices alone; needs --nnunet-python, and in practice a GPU
Surfaces are compared too, in mm: the median over the labels of the mean distance, and of that which 95 % are within.

Besides the usual methods and the presets there are:
  innergs-style  the preset paper without its tri-plane, from a blind grid: how InnerGS optimises, not its code; slow
  eclare         self-supervised super-resolution, where every 3rd (5th, ...) slice of cubic voxels is kept; needs
                 --eclare-python, and in practice a GPU
"""

_EVALUATE_EXAMPLES = """\
examples:
  How good is the result where every 4th slice is known?
    triplane-gaussian-recon evaluate ct.nii.gz --labels ct_seg.nii.gz --keep-every 4 --figure ct.png
  A segmentation drawn on every 8th slice of a scan: how well are its labels filled?
    triplane-gaussian-recon evaluate ct.nii.gz --labels ct_seg.nii.gz --labels-keep-every 8 --figure labels.png
  A quick look:
    triplane-gaussian-recon evaluate ct.nii.gz --keep-every 2 --methods linear,cubic,fast
  Against ECLARE, after 'python -m venv eclare' and 'eclare/bin/python -m pip install eclare':
    triplane-gaussian-recon evaluate t1.nii.gz --keep-every 3 --eclare-python eclare/bin/python

"""

_RENDER = """\
Draw one plane of a saved model as an image: any plane by a point and its normal, or one across an axis.

Points are in the volume's physical coordinates, LPS millimetres (x to the patient's left, y to the back, z to the
head); 3D Slicer shows RAS, where x and y have the opposite sign. The picture of a plane is turned as radiologists look
at it, whichever way the normal points.
"""

_RENDER_EXAMPLES = """\
examples:
  An oblique plane:
    triplane-gaussian-recon render dense.safetensors --point=-10,20,35 --normal=1,0,0.5 --output oblique.nrrd
    (the = is needed where a list begins with a minus)
  A picture of the coronal plane at y = -20 mm:
    triplane-gaussian-recon render dense.safetensors --axis coronal --position -20 --output coronal.png

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


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; `command` of the parsed arguments is the name of the module here that runs it."""
    parser = _Parser(
        prog="triplane-gaussian-recon", formatter_class=argparse.RawDescriptionHelpFormatter,
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
    _add_evaluate(add("evaluate", "hide slices, fill them, and score the result against other methods", _EVALUATE,
                      _EVALUATE_EXAMPLES))
    _add_render(add("render", "draw one plane of a saved model", _RENDER, _RENDER_EXAMPLES))
    _add_info(add("info", "tell what a saved model is", "Tell what a saved model is and how it was made."))
    _add_export(add("export", "write the Gaussians of a saved model as .ply", _EXPORT))
    return parser


def _add_reconstruct(parser: argparse.ArgumentParser) -> None:
    _add_input(parser)
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
    chosen.add_argument("--trust", action="append", metavar="AXIS:SPEC", help="use slices across AXIS; repeat it to "
                        "combine axes. SPEC is a list as for --slices, every:K, hide:K, P%% or all; for example "
                        "k:every:4")
    observed.add_argument("--exclude", metavar="LIST", help="damaged slices of the slice axis, not to be used in "
                          "any case, for example 7,12")
    observed.add_argument("--labels-on", metavar="drawn|LIST|every:K|all", help="which of these slices carry labels; "
                          "on the others labels are filled, guided by the image. drawn, the default: those on which "
                          "something is drawn; drawn,40,48: and 40 and 48, which are truly empty; 0,8,16 or every:8: "
                          "just these; all: none are filled")
    _add_outputs(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--preset", choices=PRESETS, default=DEFAULT_PRESET,
                     help=" ".join(f"{name}: {preset.description}" for name, preset in PRESETS.items())
                     + " Default: %(default)s")
    _add_device(how)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    output.add_argument("--output", type=_path, metavar="OUT", help="the dense volume: a file, or a folder/ of DICOM "
                        "slices")
    output.add_argument("--output-labels", type=_path, metavar="OUT", help="the dense labels: a label map, .seg.nrrd, "
                        "or .dcm for a DICOM SEG")
    output.add_argument("--output-confidence", type=_path, metavar="OUT", help="the expected absolute error of each "
                        "voxel, in units of the input: the larger, the less it can be trusted")
    output.add_argument("--output-certainty", type=_path, metavar="OUT", help="the probability of each voxel's label, "
                        "where labels are filled on used slices")
    output.add_argument("--output-probabilities", type=_path, metavar="OUT", help="the probability of each segment, in "
                        "percent, likewise: .seg.nrrd for a fractional labelmap, or .nrrd or .nii.gz for a volume of "
                        "each segment")
    output.add_argument("--label-network", type=_path, metavar="FILE.safetensors", help="where to keep what is learnt "
                        "about the labels: if the file exists, the run starts from it and takes seconds, for instance "
                        "after one more slice was drawn")
    output.add_argument("--save-model", type=_path, metavar="OUT.safetensors", help="the model, for render, info and "
                        "export")
    output.add_argument("--report", type=_path, metavar="OUT.json", help="what was used, how long it took, and a self "
                        "check")
    output.add_argument("--output-spacing", type=_spacing, metavar="isotropic|input|MM", help="distance of the slices "
                        "of the result: isotropic is the smaller spacing within the slices, input that of VOLUME; "
                        "default: isotropic if all slices are used and no labels filled on them, else input")
    output.add_argument("--cover-voxels", action="store_true", help="let the result reach to the outer faces of the "
                        "outermost used slices, by whole slices, instead of from centre to centre")
    output.add_argument("--paste-trusted", action="store_true", help="put the used slices into the result as they "
                        "were, instead of as the model shows them; the model itself stays as it is")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_input(parser)
    observed = parser.add_mutually_exclusive_group(required=True)
    observed.add_argument("--keep-every", type=int, metavar="K", help="use slices 0, K, 2 K, ... and score those in "
                         "between")
    observed.add_argument("--hide-every", type=int, metavar="K", help="use all but every Kth slice and score these")
    observed.add_argument("--labels-keep-every", type=int, metavar="K", help="use the image of all slices, but the "
                          "labels of 0, K, 2 K, ... alone, and score the labels of those in between")
    parser.add_argument("--axis", choices=AXES, help="the slice axis; default: the axis of largest spacing, k when "
                        "equal")
    parser.add_argument("--methods", metavar="NAME,...", help="methods to compare; default: all usual ones, and "
                        "fast. A name that does not exist prints those that do")
    parser.add_argument("--eclare-python", type=_path, metavar="PYTHON", help="the Python of an environment with "
                        "the package eclare, to compare with it")
    parser.add_argument("--nnunet-python", type=_path, metavar="PYTHON", help="with --labels-keep-every: the Python of "
                        "an environment with the package nnunetv2, to compare with it")
    parser.add_argument("--nnunet-epochs", type=int, choices=NNUNET_EPOCHS, default=DEFAULT_NNUNET_EPOCHS,
                        help="how long nnU-Net is trained, in epochs of 250 steps; default: %(default)s")
    parser.add_argument("--json", type=_path, metavar="OUT.json", help="all scores, also of each label")
    parser.add_argument("--figure", type=_path, metavar="OUT.png", help="a picture of truth, result and "
                        "differences; or .pdf, .svg")
    _add_device(parser)


def _add_render(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=_path, metavar="MODEL", help="a file written by reconstruct --save-model")
    plane = parser.add_argument_group("which plane", "Either --point and --normal, or --axis.")
    plane.add_argument("--point", type=_vector, metavar="X,Y,Z", help="a point of the plane, LPS mm; the centre of the "
                       "picture if there is a --size")
    plane.add_argument("--normal", type=_vector, metavar="NX,NY,NZ", help="the direction across the plane, LPS, of any "
                       "length")
    plane.add_argument("--axis", choices=AXES, help="a plane across this axis. axial, coronal and sagittal mean the "
                       "exact LPS axes; i and j the columns and rows of the used slices, k across them")
    plane.add_argument("--position", type=float, metavar="MM", help="where on the axis: the LPS coordinate for axial "
                       "(z), coronal (y) and sagittal (x); for i, j, k the distance from the first pixel of the first "
                       "used slice; default: the middle of the model")
    plane.add_argument("--size", type=float, metavar="MM", help="side of the square to draw; default: all of the model")
    plane.add_argument("--spacing", type=float, metavar="MM", help="pixel spacing; default: that of the used slices")
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, type=_path, metavar="OUT", help="a volume of one slice (.nrrd, "
                        ".nii.gz, .nii, .mha, .npz) with its place in space; or .png, 8 bit from the smallest used "
                        "value to the 99.9th percentile")
    output.add_argument("--output-labels", type=_path, metavar="OUT", help="the labels on the plane, as label map or "
                        ".seg.nrrd")


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=_path, metavar="MODEL", help="a file written by reconstruct --save-model")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=_path, metavar="MODEL", help="a file written by reconstruct --save-model")
    parser.add_argument("output", type=_path, metavar="OUT.ply", help="the file to write")


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("volume", type=_path, metavar="VOLUME", help="a volume file, or a folder of DICOM, PNG, TIFF "
                        "or JPEG slices")
    parser.add_argument("--labels", type=_path, metavar="LABELS", help="its segmentation: a label map, a .seg.nrrd, "
                        "a DICOM SEG or an RT structure set")
    parser.add_argument("--series", default="", metavar="UID|NUMBER|TEXT", help="which DICOM series of a folder that "
                        "holds several: its UID, number or description; default: the largest")
    parser.add_argument("--volume-number", type=int, metavar="N", help="which volume, counted from 1, where a file or "
                        "series holds several (time points, echoes, ...)")
    parser.add_argument("--spacing", type=_sides, metavar="X,Y,Z", help="mm from column to column, from row to row and "
                        "from slice to slice, for a folder of PNG, TIFF or JPEG slices")


def _add_device(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--device", default=DEVICES[0], metavar="DEVICE",
                        help=f"where to compute: {', '.join(DEVICES)}, or cuda:1 and so on for one of several GPUs; "
                             "auto is the GPU where one works, otherwise the CPU, and says why; default: %(default)s")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="the same seed gives the same result, on a "
                        "CPU to the last bit; default: %(default)s")


def _path(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"'{text}' is no path of a file")
    return text


def _spacing(text: str) -> str | float:
    if text in ("isotropic", "input"):
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither isotropic, input nor a number of mm") from None


def _vector(text: str) -> tuple[float, ...]:
    try:
        vector = tuple(float(part) for part in text.split(","))
    except ValueError:
        vector = ()
    if len(vector) != 3 or not all(abs(x) < 1e9 for x in vector):
        raise argparse.ArgumentTypeError(f"'{text}' is no list of three numbers such as 1,2.5,30")
    return vector


def _sides(text: str) -> tuple[float, ...]:
    sides = _vector(text)
    if min(sides) <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' holds a length that is not positive")
    return sides


def _seed(text: str) -> int:
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 0 to {LARGEST_SEED}")
    return int(text)
