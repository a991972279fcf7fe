"""`evaluate` where several stacks make one volume, real or simulated."""
from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from ..config.presets import DEFAULT_PRESET, PRESETS
from ..data.stack_input import StackInput
from ..data.volume_notes import about_volume
from ..errors import InputError
from ..evaluation.hidden_slices import evaluate_hidden
from ..evaluation.ours import Ours
from ..evaluation.simulated_stacks import evaluate_simulated
from ..evaluation.stack_report import StackEvaluation
from ..evaluation.stack_simulation import Simulation, central
from ..io.motion_files import read_motion
from .console import note
from .inputs import read_mask, read_volume

_OF_VOLUMES = ("thickness", "to_first", "mask")
_OF_SIMULATION = ("factor", "noise", "motion", "slice_motion", "gain", "side")
_OF_SLICES = ("labels", "keep_every", "hide_every", "labels_keep_every", "simulate_stacks", "eclare_python",
              "nnunet_python")


def refuse_without_stacks(arguments: Namespace) -> None:
    """Raise InputError for an option that does not go with what is compared."""
    unfit: dict[str, tuple[str, ...]] = {}
    if arguments.stacks:
        unfit["one volume alone"] = _OF_SLICES
    else:
        unfit["several volumes"] = _OF_VOLUMES
    if arguments.simulate_stacks is None:
        unfit["--simulate-stacks"] = _OF_SIMULATION
        if not arguments.stacks:
            unfit["several volumes or simulated stacks"] = ("profile", "each_alone")
    else:
        unfit["hidden slices"] = ("labels", "axis", "eclare_python", "nnunet_python")
    for what, names in unfit.items():
        for name in names:
            if any(getattr(options, name, None) not in (None, False, "") for options in (arguments, *arguments.stacks)):
                raise InputError(f"--{name.replace('_', '-')} goes with {what}. Leave it out.")


def compare_simulated(arguments: Namespace) -> StackEvaluation:
    """Simulate stacks of one volume; raises InputError for whatever is wrong."""
    ours = _ours(arguments)
    chosen = {name: getattr(arguments, name) for name in (*_OF_SIMULATION[:-1], "profile")}
    simulation = Simulation(arguments.simulate_stacks,
                            **{name: value for name, value in chosen.items() if value is not None})
    return evaluate_simulated(central(read_volume(arguments), arguments.side), simulation, ours, note)


def compare_several(arguments: Namespace) -> StackEvaluation:
    """Hide slices of several volumes in turn; raises InputError, which names the volume, for whatever is wrong."""
    ours, inputs = _ours(arguments), []
    for number, options in enumerate(arguments.stacks):
        with about_volume(number):
            inputs.append(_read(options))
    return evaluate_hidden(inputs, _names([each.volume for each in arguments.stacks]), ours, note)


def _read(options: Namespace) -> StackInput:
    """Read one volume; options: those that belong to it."""
    image = read_volume(options)
    axis = image.grid.named_axis(options.axis) if options.axis else image.grid.thickest_axis()
    to_first = None if options.to_first is None else read_motion(options.to_first, options.volume)
    return StackInput(image, axis, thickness=options.thickness, profile=options.profile or "gaussian",
                      to_first=to_first, mask=read_mask(options, image))


def preset_names(arguments: Namespace) -> list[str]:
    """The presets to compare; raises InputError for one that does not exist."""
    names = [DEFAULT_PRESET] if arguments.methods is None else [name.strip() for name in arguments.methods.split(",")]
    for name in names:
        if name not in PRESETS:
            raise InputError(f"Unknown preset '{name}'. Choose from {', '.join(PRESETS)}; the usual methods are there "
                             "in any case.")
    return names


def _ours(arguments: Namespace) -> Ours:
    names = preset_names(arguments)
    return Ours({name: PRESETS[name] for name in names}, arguments.device, arguments.seed, arguments.each_alone,
                arguments.memory)


def _names(paths: list[str]) -> list[str]:
    """Short names of volumes: those of the files."""
    return [Path(path).name.split(".")[0] or path for path in paths]
