"""The options of `cohort` and `bids`: their own, and those of `reconstruct` that hold for all cases."""
from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..cohort.manifest import joined
from .common_options import add_messages, add_thickness
from .reconstruct_options import add_how, add_motion, add_slices, add_trust, add_voxels
from .values import path, positive

DESCRIPTION = """\
Reconstruct many cases, each in a process of its own, on this computer or a cluster.

MANIFEST.csv has a row for each case: the columns id and volume (several of one body separated by ';'), if you like
labels, time-limit (seconds), and any option below without its dashes, for what differs. Paths are relative to it.
In OUT come a folder for each case below cases/, status.csv and index.html, which shows the worst self-check first.

The same call again does what is missing, or whose inputs, options or program version have changed. A case that fails
stops no other; one that runs out of memory is tried again with less.
"""
EXAMPLES = """\
examples:
  A table of cases:
    triplane-gaussian-recon cohort cases.csv results --preset fast
  All files that a pattern finds, in quotes; what * stands for names the case:
    triplane-gaussian-recon cohort --glob 'data/*/T2.nii.gz' results --keep-every 4
  The third of sixteen parts, for an array job; the last call without --engine gathers the table:
    triplane-gaussian-recon cohort cases.csv results --engine shard:3/16
  On a scheduler of Dask that runs already, and on SLURM with twenty jobs of four processors:
    triplane-gaussian-recon cohort cases.csv results --engine dask:tcp://10.0.0.7:8786
    triplane-gaussian-recon cohort cases.csv results --workers 20 \\
        --slurm 'cores=1 job_cpu=4 memory=16GB walltime=08:00:00 queue=short'

"""
_QUEUES = {"slurm": "SLURM", "pbs": "PBS", "lsf": "LSF"}


BIDS_DESCRIPTION = """\
Reconstruct the anatomical images of a dataset in BIDS; the results are derivatives in BIDS.

participant does the images, group gathers a page and a table of all self-checks. As a BIDS App, several calls with
other participants may work on the same OUT at a time. What cohort says of going on, failing and engines holds here.
"""
BIDS_EXAMPLES = """\
examples:
  All T2-weighted images of two participants, then the table of all:
    triplane-gaussian-recon bids data data/derivatives/dense participant --participant-label 01 02 --suffix T2w
    triplane-gaussian-recon bids data data/derivatives/dense group

"""


def add_bids(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bids`."""
    parser.allow_abbrev = False
    parser.add_argument("dataset", type=path, metavar="BIDS_DIR", help="the dataset")
    parser.add_argument("output", type=path, metavar="OUT", help="the folder for the derivatives")
    parser.add_argument("level", choices=("participant", "group"), help="what to do")
    parser.add_argument("--participant-label", "--participant_label", nargs="+", metavar="LABEL", help="participants "
                        "to take, with or without sub-; default: all")
    parser.add_argument("--session-label", "--session_label", nargs="+", metavar="LABEL", help="likewise sessions")
    parser.add_argument("--suffix", nargs="+", metavar="SUFFIX", help="images to take, such as T2w; default: all "
                        "anatomical ones")
    parser.add_argument("--labels", type=path, metavar="DIR", help="derivatives with a segmentation, _dseg, of images")
    add_work(parser)
    add_case(parser)
    add_messages(parser)


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """Add the options of `cohort`."""
    parser.allow_abbrev = False  # so that what is typed can be passed on
    parser.add_argument("manifest", nargs="?", type=path, metavar="MANIFEST.csv", help="the table of cases; without it "
                        "--glob")
    parser.add_argument("output", type=path, metavar="OUT", help="the folder for all results")
    parser.add_argument("--glob", metavar="PATTERN", help="instead of a table: volumes, such as 'data/*/T2.nii.gz'")
    parser.add_argument("--labels", metavar="PATTERN", help="with --glob: their segmentations, with the same wildcards")
    add_work(parser)
    add_case(parser)
    add_messages(parser)


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add how the work on many cases is done."""
    work = parser.add_argument_group("many cases")
    work.add_argument("--engine", default="local", metavar="local|shard:I/N|dask|dask:ADDRESS", help="local, the "
                      "default: on this computer, as many cases at a time as memory and processors allow, or one on "
                      "each GPU; shard:I/N: likewise, part I of N; dask: on workers of Dask, those of the scheduler at "
                      "ADDRESS or new ones here")
    work.add_argument("--workers", type=int, metavar="N", help="cases at a time, or with --slurm, --pbs and --lsf jobs")
    for name, title in _QUEUES.items():
        work.add_argument(f"--{name}", metavar="'KEY=VALUE ...'", help=f"on {title}, by dask-jobqueue: cores, memory, "
                          "walltime, queue and so on, as it calls them; what is left out is taken from its "
                          "configuration")
    work.add_argument("--time-limit", type=positive, metavar="SECONDS", help="that a case may take before it counts as "
                      "hanging; default: 20 times what is expected, half an hour at least")
    work.add_argument("--retry-failed", action="store_true", help="also do cases again that have failed")


def add_case(parser: argparse.ArgumentParser) -> None:
    """Add the options of `reconstruct` that may hold for all cases."""
    add_trust(add_slices(parser))
    several = add_thickness(parser)
    several.add_argument("--mask", type=path, metavar="MASK", help="a label map, outside of which a volume counts as "
                         "unknown")
    add_motion(several)
    add_voxels(parser.add_argument_group("voxels of the result"))
    add_how(parser)


def case_options() -> dict[str, bool]:
    """Return which options of `reconstruct` a case may have, without dashes, and whether each takes a value."""
    parser = argparse.ArgumentParser(add_help=False)
    add_case(parser)
    return {action.option_strings[0].removeprefix("--"): action.nargs != 0 for action in parser._actions
            if action.option_strings}


def typed_options(words: Sequence[str]) -> tuple[str, ...]:
    """Return those of the words typed that are options of all cases, with their values."""
    return tuple(_typed(words, case_options()))


def _typed(words: Sequence[str], options: dict[str, bool]) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in options:
            value = value if equals else next(rest, "") if options[name] else ""
            yield joined(name, value, Path()) if options[name] else word
