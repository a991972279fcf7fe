"""The files that `reconstruct` writes: what can be known before the work, and writing them after it."""
from __future__ import annotations

import os
import shutil
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..data.geometry import Grid
from ..data.images import Segmentation
from ..errors import Cancelled, InputError, OutputError
from ..io.atomic import check_output, is_folder, write_json
from ..io.motion_files import JSON, write_motions
from ..io.probability_files import check_probabilities_writable, write_probabilities
from ..io.writers import check_segmentation_writable, check_writable, write_image, write_segmentation
from ..model.label_network_file import save_label_network
from ..model.model_file import MODEL_EXTENSION, save_model
from ..pipeline.reconstruction import Reconstruction
from .arguments import OUTPUT_GRIDS
from .console import note, warn
from .words import file_size

_UNCOMPRESSED = ".nii"  # of the formats of volumes
_CONFIDENCE_BYTES = 4  # of a voxel
# Bytes of a voxel in a model, at most about: without labels and with some; and in the compact form.
_MODEL_BYTES, _LABELLED_MODEL_BYTES, _COMPACT_BYTES = 60, 160, 13
_OUTPUTS = ("output", "output_labels", "output_confidence", "output_certainty", "output_probabilities", "label_network",
            "save_model", "report")


def check_paths(arguments: Namespace) -> None:
    """Find out before the work whether all results can be written, and that none replaces an input or another one."""
    volumes = arguments.stacks or (arguments,)
    outputs = (*_OUTPUTS, "output_motion") if arguments.stacks else _OUTPUTS
    if not any(getattr(arguments, name) for name in outputs):
        *options, last = ("--" + name.replace("_", "-") for name in outputs)
        raise InputError(f"Nothing would be written. Give at least one of {', '.join(options)} and {last}.")
    for option, path in (("--output-labels", arguments.output_labels),
                         ("--output-certainty", arguments.output_certainty),
                         ("--output-probabilities", arguments.output_probabilities),
                         ("--label-network", arguments.label_network)):
        if path and not any(volume.labels for volume in volumes):
            raise InputError(f"{option} needs --labels: without labels of some slices there are none to make dense.")
    if arguments.compact_model and not arguments.save_model:
        raise InputError("--compact-model is about the model, which is not saved. Add --save-model, or leave it out.")
    source = arguments.volume, arguments.series
    checks: dict[str, Callable[[str], None]] = {
        "output": lambda path: check_writable(path, *source),
        "output_labels": lambda path: check_segmentation_writable(path, *source),
        "output_confidence": lambda path: check_writable(path, *source),
        "output_certainty": lambda path: check_writable(path, *source),
        "output_probabilities": check_probabilities_writable,
        "label_network": lambda path: check_output(Path(path), MODEL_EXTENSION),
        "save_model": lambda path: check_output(Path(path), MODEL_EXTENSION),
        "report": lambda path: check_output(Path(path)),
        "output_motion": lambda path: check_output(Path(path), JSON)}
    taken = {place(path): f"the input '{path}'" for volume in volumes
             for path in (volume.volume, volume.labels, volume.mask, volume.to_first) if path}
    if arguments.output_grid and arguments.output_grid not in OUTPUT_GRIDS:
        taken[place(arguments.output_grid)] = f"the input '{arguments.output_grid}'"
    for name, check in checks.items():
        text = getattr(arguments, name)
        if text is not None:
            option, there = "--" + name.replace("_", "-"), place(text)
            if there in taken:
                raise InputError(f"{option} would overwrite {taken[there]}. Choose another name.")
            taken[there] = f"what {option} writes"
            check(text)


def place(path: str) -> Path:
    """Return where a path leads, links followed as far as that is possible."""
    return Path(os.path.realpath(path))


def check_space(arguments: Namespace, grid: Grid, dtype: np.dtype, segmentation: Segmentation | None,
                gaussians: int = 0) -> None:
    """Raise OutputError where the results surely do not fit on their disks; say so where they may not.

    How large a model may become is said in any case.

    Args:
        arguments: With the paths of the results.
        grid: Of the result.
        dtype: Of the volume.
        segmentation: The labels, or None.
        gaussians: How many a model may have, where that is known; it has those of gaps that the result needs none of.
    """
    voxels = float(np.prod(grid.shape, dtype=float))
    each = _model_bytes(arguments.compact_model, segmentation is not None)
    sizes = {arguments.output: dtype.itemsize, arguments.output_confidence: _CONFIDENCE_BYTES,
             arguments.output_certainty: _CONFIDENCE_BYTES,
             arguments.output_probabilities: len(segmentation.segments) if segmentation else 0,
             arguments.save_model: each * max(1.0, gaussians / voxels),
             arguments.output_labels: segmentation.layers.itemsize * len(segmentation.layers) if segmentation else 0}
    if arguments.save_model:
        smaller = "" if arguments.compact_model else "; --compact-model makes it many times smaller"
        note(f"The model will take up to {file_size(voxels * sizes[arguments.save_model])}{smaller}.")
    surely, at_most = Counter[Path](), Counter[Path]()
    for path, size in sizes.items():
        if path is not None:
            folder = place(path).parent
            at_most[folder] += int(voxels * size)
            surely[folder] += int(voxels * size) if path.lower().endswith(_UNCOMPRESSED) else 0
    for folder, size in at_most.items():
        free = shutil.disk_usage(folder).free
        if surely[folder] > free:
            raise OutputError(f"The disk of '{folder}' has {file_size(free)} free, and the results need "
                              f"{file_size(surely[folder])}. Free disk space, choose another folder, or a format "
                              "that is compressed, such as .nii.gz.")
        if size > free:
            warn(f"The disk of '{folder}' has {file_size(free)} free; the results may take "
                 f"{file_size(size)} if they cannot be compressed.")


def _model_bytes(is_compact: bool, has_labels: bool) -> int:
    """Bytes of a voxel, or of a Gaussian, in the file of a model."""
    return _COMPACT_BYTES if is_compact else _LABELLED_MODEL_BYTES if has_labels else _MODEL_BYTES


def write(result: Reconstruction, arguments: Namespace) -> dict[str, str]:
    """Write all that was asked for; returns what each path holds."""
    written: dict[str, str] = {}
    try:
        source = {"like": arguments.volume, "series": arguments.series}
        if arguments.output:
            texture = result.report.texture
            write_image(arguments.output, result.volume, **source, remark="" if texture is None else texture.remark)
            written[arguments.output] = "dense volume"
        if arguments.output_labels and result.segmentation is not None:
            of = {"like": arguments.output} if arguments.output and is_folder(arguments.output) else source
            write_segmentation(arguments.output_labels, result.segmentation, **of)
            written[arguments.output_labels] = "dense labels"
        if arguments.output_confidence:
            write_image(arguments.output_confidence, result.confidence, **source,
                        content="expected error of each voxel")
            written[arguments.output_confidence] = "expected error"
        if arguments.output_certainty and result.label_certainty is not None:
            write_image(arguments.output_certainty, result.label_certainty, **source,
                        content="probability of each label")
            written[arguments.output_certainty] = "label certainty"
        if arguments.output_probabilities and result.label_probabilities is not None:
            write_probabilities(arguments.output_probabilities, result.label_probabilities)
            written[arguments.output_probabilities] = "probabilities"
        if arguments.label_network and result.label_network is not None:
            save_label_network(arguments.label_network, result.label_network)
            written[arguments.label_network] = "label network"
        if arguments.save_model:
            save_model(arguments.save_model, result.model, compact=arguments.compact_model)
            written[arguments.save_model] = f"model, {file_size(os.path.getsize(arguments.save_model))}"
        if arguments.report:
            write_json(Path(arguments.report), result.report.to_json())
            written[arguments.report] = "report"
        if arguments.output_motion:
            write_motions(arguments.output_motion, result.motions, [volume.volume for volume in arguments.stacks])
            written[arguments.output_motion] = "motion"
    except KeyboardInterrupt:
        raise Cancelled(f"Stopped while writing. {_done(written)}") from None
    except OutputError as error:
        raise OutputError(f"{error} {_done(written)}") from error
    return written


def _done(written: dict[str, str]) -> str:
    return f"Written before: {', '.join(written)}." if written else "Nothing was written."
