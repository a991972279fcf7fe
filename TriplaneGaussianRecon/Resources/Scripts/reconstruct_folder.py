"""Reconstruct all volumes of a folder in 3D Slicer, without its main window:

    Slicer --no-splash --no-main-window --python-script reconstruct_folder.py INPUT OUTPUT --trusted-slices every:3

Each volume NAME.nrrd, .nii, .nii.gz or .mha becomes OUTPUT/NAME.nrrd, its expected error NAME_expected_error.nrrd, and
NAME.txt, which tells how it was made.  If NAME.seg.nrrd lies beside it, that becomes OUTPUT/NAME.seg.nrrd.  What cannot
be reconstructed is named and passed over; the exit code is then 1.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import slicer

from TriplaneGaussianReconLib.atomic_files import whole_file
from TriplaneGaussianReconLib.errors import ReconstructionError

EXTENSIONS = (".nrrd", ".nii", ".nii.gz", ".mha")
SEGMENTATION = ".seg.nrrd"
MODULE = "TriplaneGaussianRecon"


def main(arguments: list[str]) -> int:
    """Do what the arguments ask for; returns the exit code."""
    options = parser().parse_args(arguments)
    if options.output.resolve() == options.input.resolve():
        print("The results would replace the input. Choose another folder for them.", file=sys.stderr)
        return 1
    found = volumes(options.input)
    if not found:
        print(f"In '{options.input}' there is no volume ({', '.join(EXTENSIONS)}).", file=sys.stderr)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    logic, failures = slicer.util.getModuleLogic(MODULE), 0
    for number, (name, path) in enumerate(found.items(), start=1):
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
                      help="all, every:4, hide:3, 25%%, a list such as 0,4,8-20, or segmented (default: %(default)s)")
    made.add_argument("--excluded-slices", default="", metavar="SLICES", help="a list of slices that are not trusted")
    made.add_argument("--slice-axis", default="auto", metavar="AXIS", help="auto, i, j or k (default: %(default)s)")
    made.add_argument("--output-spacing", type=float, default=0.0, metavar="MM",
                      help="between the slices of the result; 0 lets the program choose (default)")
    made.add_argument("--preset", default="fast", help="fast, balanced, best or paper (default: %(default)s)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, or one such as cuda:1 (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="the same seed gives the same result (default: %(default)s)")
    return made


def volumes(folder: Path) -> dict[str, Path]:
    """The volumes of a folder, by name without extension, in alphabetical order."""
    found = {}
    for path in sorted(folder.iterdir()):
        extension = next((each for each in sorted(EXTENSIONS, key=len, reverse=True) if path.name.endswith(each)), None)
        if extension is not None and not path.name.endswith(SEGMENTATION):
            found[path.name.removesuffix(extension)] = path
    return found


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
        excludedSlices=options.excluded_slices, outputSpacing=options.output_spacing, preset=options.preset,
        device=options.device, seed=options.seed)
    written = {f"{name}.nrrd": results.volume, f"{name}_expected_error.nrrd": results.confidence,
               f"{name}{SEGMENTATION}": results.segmentation}
    for file, node in written.items():
        if node is not None:
            with whole_file(options.output / file) as part:
                if not slicer.util.saveNode(node, str(part)):
                    raise RuntimeError(f"'{file}' was not written. Free disk space, or choose another folder.")
    with whole_file(options.output / f"{name}.txt") as part:
        part.write_text(results.provenance.GetText() + "\n", encoding="utf-8")


if __name__ == "__main__":
    slicer.util.exit(main(sys.argv[1:]))
