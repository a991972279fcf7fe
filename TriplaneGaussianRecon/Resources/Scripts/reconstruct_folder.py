"""Reconstruct all volumes of a folder in 3D Slicer, without its main window:

    Slicer --no-splash --no-main-window --python-script reconstruct_folder.py INPUT OUTPUT --trusted-slices every:3

Each volume NAME.nrrd, .nii, .nii.gz or .mha becomes OUTPUT/NAME.nrrd, its expected error NAME_expected_error.nrrd, and
NAME.txt, which tells how it was made.  If NAME.seg.nrrd lies beside it, that becomes OUTPUT/NAME.seg.nrrd, and where it
is filled on used slices NAME_label_certainty.nrrd tells how certain it is.  What cannot be reconstructed is named and
passed over; the exit code is then 1.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import slicer

from TriplaneGaussianReconLib.errors import InputError, OutputError, ReconstructionError, cause
from TriplaneGaussianReconLib.io.atomic import whole_file

EXTENSIONS = (".nrrd", ".nii", ".nii.gz", ".mha")
SEGMENTATION = ".seg.nrrd"
ENDINGS = {"volume": ".nrrd", "confidence": "_expected_error.nrrd", "segmentation": SEGMENTATION,
           "certainty": "_label_certainty.nrrd", "provenance": ".txt"}
MODULE = "TriplaneGaussianRecon"


def main(arguments: list[str]) -> int:
    """Do what the arguments ask for; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        found = prepared(options.input, options.output)
    except ReconstructionError as error:
        print(error, file=sys.stderr)
        return 1
    logic, failures = slicer.util.getModuleLogic(MODULE), 0
    for number, (name, path) in enumerate(found, start=1):
        try:
            reconstruct(logic, name, path, options)
            print(f"{number} of {len(found)}: {name}", flush=True)
        except (ReconstructionError, RuntimeError, OSError) as error:
            failures += 1
            print(f"{number} of {len(found)}: {name}: {error}", file=sys.stderr, flush=True)
        finally:
            slicer.mrmlScene.Clear()
    return 1 if failures else 0


def parser() -> argparse.ArgumentParser:
    """The options, named as the arguments of the logic's `reconstruct`."""
    made = argparse.ArgumentParser("reconstruct_folder.py", description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("input", type=Path, metavar="INPUT", help="folder with the volumes")
    made.add_argument("output", type=Path, metavar="OUTPUT", help="folder for the results")
    made.add_argument("--trusted-slices", default="all", metavar="SLICES",
                      help="slices to use: all, every:4, hide:3, 25%%, a list such as 0,4,8-20, or segmented "
                           "(default: %(default)s)")
    made.add_argument("--excluded-slices", default="", metavar="SLICES", help="a list of slices that are not used")
    made.add_argument("--labels-on", default="drawn", metavar="SLICES",
                      help="used slices that carry labels, on the others these are filled: drawn, drawn,40 if 40 is "
                           "empty, all, every:8, or a list (default: %(default)s)")
    made.add_argument("--slice-axis", default="auto", metavar="AXIS", help="auto, i, j or k (default: %(default)s)")
    made.add_argument("--output-spacing", type=float, default=0.0, metavar="MM",
                      help="between the slices of the result; 0 lets the program choose (default)")
    made.add_argument("--preset", default="fast", help="fast, balanced, best or paper (default: %(default)s)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, or one such as cuda:1 (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="the same seed gives the same result (default: %(default)s)")
    return made


def prepared(source: Path, target: Path) -> list[tuple[str, Path]]:
    """Find the volumes in `source` and make the folder `target`, so that nothing known to be wrong is left.

    Returns name without extension and file of each volume, in alphabetical order.  Raises InputError or OutputError.
    """
    if target.resolve() == source.resolve():
        raise InputError("The results would replace the input. Choose another folder for them.")
    try:
        found = volumes(source)
    except OSError as error:
        raise InputError(f"The folder '{source}' cannot be read: {cause(error)}. Give one with volumes.") from error
    if not found:
        raise InputError(f"In '{source}' there is no volume ({', '.join(EXTENSIONS)}).")
    refuseClashes(found)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder '{target}' cannot be made: {cause(error)}. Choose another one.") from error
    return found


def volumes(folder: Path) -> list[tuple[str, Path]]:
    """Name without extension and file of each volume in a folder, in alphabetical order."""
    found = []
    for path in sorted(folder.iterdir()):
        extension = next((each for each in sorted(EXTENSIONS, key=len, reverse=True) if path.name.endswith(each)), None)
        if extension is not None and not path.name.endswith(SEGMENTATION):
            found.append((path.name.removesuffix(extension), path))
    return found


def refuseClashes(found: list[tuple[str, Path]]) -> None:
    """Raise InputError if a result of one volume would replace that of another."""
    sources: dict[str, Path] = {}
    for name, path in found:
        for file in (name + ending for ending in ENDINGS.values()):
            if file in sources:
                raise InputError(f"Both '{sources[file].name}' and '{path.name}' would become '{file}'. Rename one of "
                                 "them, or move it to another folder.")
            sources[file] = path


def reconstruct(logic: Any, name: str, path: Path, options: argparse.Namespace) -> None:
    """Reconstruct one volume and write the results, each file whole or not at all.

    logic: the module's, which Slicer hands out without a type.
    Raises RuntimeError or OutputError if it cannot be loaded or written, ReconstructionError if it cannot be
    reconstructed.
    """
    volume, segmentation = slicer.util.loadVolume(str(path)), None
    labels = path.with_name(name + SEGMENTATION)
    if labels.is_file():
        segmentation = slicer.util.loadSegmentation(str(labels))
    results = logic.reconstruct(
        volume, segmentation, sliceAxis=options.slice_axis, trustedSlices=options.trusted_slices,
        excludedSlices=options.excluded_slices, labelsOn=options.labels_on if segmentation is not None else "drawn",
        outputSpacing=options.output_spacing, preset=options.preset, device=options.device, seed=options.seed,
        copyVolume=True)
    files = {role: options.output / (name + ending) for role, ending in ENDINGS.items()}
    for role in ("volume", "confidence", "segmentation", "certainty"):
        node, file = getattr(results, role), files[role]
        if node is not None:
            with whole_file(file) as part:
                if not slicer.util.saveNode(node, str(part)):
                    raise RuntimeError(f"'{file.name}' was not written. Free disk space, or choose another folder.")
    with whole_file(files["provenance"]) as part:
        part.write_text(results.provenance.GetText() + "\n", encoding="utf-8")


if __name__ == "__main__":
    slicer.util.exit(main(sys.argv[1:]))
