"""Dense volumes and segmentations from sparse slices, with 3D Gaussians.

    import TriplaneGaussianReconLib as tgr

    result = tgr.reconstruct("thick.nii.gz", spacing="isotropic")
    tgr.write_image("isotropic.nii.gz", result.volume)

What `__all__` names is public.  It is imported when it is first used, so that importing this package takes no time and
needs no other package.

The packages stand about in the order in which data passes through them.  Each uses only those before it in this list:

    errors           what a user can act on
    config           what decides about a result: presets; stages and the sentences that users read; needs no torch
    data             what is observed, and where: grids, images, observations; needs numpy alone
    io               files: read, and written whole or not at all
    cuda             kernels for NVIDIA GPUs: compiled at first use, cached, launched
    runtime          devices, memory, threads, progress
    labels           segments as channels, on slices and between them
    registration     displacement between neighbouring slices; rigid motion of whole stacks
    self_supervised  networks that are trained on this volume, some from a start learnt on synthetic images
    label_completion labels on slices whose image is known and on which none were drawn
    prediction       what is expected between the slices: interpolators, their ensemble, learned fusion, expected error
    gaussians        the cloud: where Gaussians start, and a tri-plane field that may tie them together
    rasterizer       Gaussians on planes: one differentiable operation, a reference and two implementations
    model            all that is needed to draw a result, in memory and on disk
    rendering        a model on planes, or on a grid
    fitting          losses, training, refinement, slab by slab
    pipeline         the stages in order
    jobs             a reconstruction in a process of its own
    evaluation       hides slices, lets methods fill them, scores them
    api              `reconstruct` for Python programs, from a path or an image in memory
    cohort           many cases, each in a process of its own: here, in shards, or on workers of Dask
    command_line     `python -m TriplaneGaussianReconLib`
"""
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import reconstruct
    from .config.presets import DEFAULT_PRESET, PRESETS, Preset
    from .data.geometry import Grid
    from .data.images import Image, Segment, Segmentation
    from .data.observations import Observations, SliceStack
    from .data.probabilities import LabelProbabilities
    from .data.selection import Selection
    from .data.stack_input import StackInput
    from .data.stack_motion import StackMotion
    from .errors import (
        BackendUnavailableError,
        Cancelled,
        InputError,
        MissingPackageError,
        OutputError,
        ReconstructionError,
    )
    from .io.motion_files import read_motion, write_motion, write_motions
    from .io.probability_files import write_probabilities
    from .io.readers import read_image, read_segmentation
    from .io.writers import write_image, write_segmentation
    from .model.model import Model
    from .model.model_file import load_model, save_model
    from .pipeline.reconstruction import Reconstruction
    from .runtime.progress import Progress

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_PRESET", "PRESETS", "BackendUnavailableError", "Cancelled", "Grid", "Image", "InputError",
    "LabelProbabilities", "MissingPackageError", "Model", "Observations", "OutputError", "Preset", "Progress",
    "Reconstruction", "ReconstructionError", "Segment", "Segmentation", "Selection", "SliceStack", "StackInput",
    "StackMotion", "__version__", "load_model", "read_image", "read_motion", "read_segmentation", "reconstruct",
    "save_model", "write_image", "write_motion", "write_motions", "write_probabilities", "write_segmentation",
]

_MODULES = {  # where each public name is
    "api": ("reconstruct",),
    "config.presets": ("DEFAULT_PRESET", "PRESETS", "Preset"),
    "data.geometry": ("Grid",),
    "data.images": ("Image", "Segment", "Segmentation"),
    "data.observations": ("Observations", "SliceStack"),
    "data.probabilities": ("LabelProbabilities",),
    "data.selection": ("Selection",),
    "data.stack_input": ("StackInput",),
    "data.stack_motion": ("StackMotion",),
    "errors": ("BackendUnavailableError", "Cancelled", "InputError", "MissingPackageError", "OutputError",
               "ReconstructionError"),
    "io.motion_files": ("read_motion", "write_motion", "write_motions"),
    "io.probability_files": ("write_probabilities",),
    "io.readers": ("read_image", "read_segmentation"),
    "io.writers": ("write_image", "write_segmentation"),
    "model.model": ("Model",),
    "model.model_file": ("load_model", "save_model"),
    "pipeline.reconstruction": ("Reconstruction",),
    "runtime.progress": ("Progress",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
