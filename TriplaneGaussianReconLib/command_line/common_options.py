"""Options that several commands have."""
from __future__ import annotations

import argparse

from ..config.names import DEVICES
from .values import length, memory, path, seed, sides, threads

AXES = ("i", "j", "k", "axial", "coronal", "sagittal")  # what Grid.named_axis knows


def add_thickness(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what one of several volumes has, or one whose slices average; returns the group."""
    several = parser.add_argument_group("several volumes, and slices that average", "--mask, --thickness, "
                                        "--profile and --to-first belong to the volume they follow. With --thickness\n"
                                        "or --profile a single volume, too, is solved for as what its slices average "
                                        "over.")
    several.add_argument("--thickness", type=length, metavar="MM", help="mm that each slice averages over; default: "
                         "the slice distance")
    several.add_argument("--profile", choices=("box", "gaussian"), help="how it does so: --thickness is the width of "
                         "the box, or the full width at half maximum of the Gaussian, the default")
    several.add_argument("--to-first", type=path, metavar="FILE.tfm|FILE.json", help="how the body lies in this "
                         "volume, where that is known: a rigid transform as ITK and 3D Slicer have it, from the first "
                         "volume's world to this volume's, or what --output-motion has written")
    return several


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add a volume, and which it is where a file or folder holds several."""
    parser.add_argument("volume", type=path, metavar="VOLUME", help="a volume file, or a folder of DICOM, PNG, TIFF "
                        "or JPEG slices")
    parser.add_argument("--labels", type=path, metavar="LABELS", help="its segmentation: a label map, a .seg.nrrd, "
                        "a DICOM SEG or an RT structure set")
    parser.add_argument("--mask", type=path, metavar="MASK", help="a label map or segmentation, on any voxels, outside "
                        "of which the volume holds no data (NaN): only what is inside of any label is seen. evaluate "
                        "takes one for each of several volumes; pixels outside are neither seen nor scored")
    parser.add_argument("--series", default="", metavar="UID|NUMBER|TEXT", help="which DICOM series of a folder that "
                        "holds several: its UID, number or description; default: the largest")
    parser.add_argument("--volume-number", type=int, metavar="N", help="which volume, counted from 1, where a file or "
                        "series holds several (time points, echoes, ...)")
    parser.add_argument("--spacing", type=sides, metavar="X,Y,Z", help="mm from column to column, from row to row and "
                        "from slice to slice, for a folder of PNG, TIFF or JPEG slices")


def add_computing(parser: argparse._ActionsContainer) -> None:
    """Add where to compute, with how much, and what random numbers start from."""
    parser.add_argument("--device", default=DEVICES[0], metavar="DEVICE",
                        help=f"where to compute: {', '.join(DEVICES)}, or cuda:1 and so on for one of several GPUs; "
                             "auto is the GPU where one works, otherwise the CPU, and says why; default: %(default)s")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="the same seed gives the same result, on a "
                        "CPU to the last bit; default: %(default)s")
    parser.add_argument("--memory", type=memory, metavar="AMOUNT", help="how much memory of the computer the program "
                        "may hold at its peak, for example 6GB or 5.5GiB: what does not fit is worked on in slabs; on "
                        "a GPU these follow the GPU's own memory; default: what is free")
    add_threads(parser)


def add_threads(parser: argparse._ActionsContainer) -> None:
    """Add how many threads to use."""
    parser.add_argument("--threads", type=threads, metavar="N", help="how many threads to use; default: as many as "
                        "there are processors that the system (taskset, a container, SLURM) or OMP_NUM_THREADS allows; "
                        "the result is the same")


def add_messages(parser: argparse.ArgumentParser) -> None:
    """Add how much is told, and where."""
    messages = parser.add_argument_group("messages")
    how_much = messages.add_mutually_exclusive_group()
    how_much.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors, warnings and tables, "
                          "and ask nothing")
    how_much.add_argument("-v", "--verbose", action="store_true", help="tell more at the end: seconds of each stage, "
                          "weights of the predictions, peak memory")
    messages.add_argument("--log", type=path, metavar="FILE", help="add all messages to the end of this file, with "
                          "date and time, as they come")
