"""`evaluate`: hide slices, fill them by several methods, and print how close each comes."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..config.baseline_presets import INNERGS_STYLE
from ..config.presets import DEFAULT_PRESET, PRESETS
from ..data.alignment import aligned_to
from ..data.geometry import Axis, Grid
from ..data.images import Segmentation
from ..data.selection import Selection
from ..errors import InputError, MissingPackageError, OutputError, ReconstructionError
from ..evaluation.eclare import Eclare
from ..evaluation.evaluate import evaluate
from ..evaluation.figure import figure
from ..evaluation.methods import LABEL_BASELINES, Hidden, Method, baseline_names
from ..evaluation.nnunet import NnUnet
from ..evaluation.preset_method import PresetMethod
from ..evaluation.report import EvaluationReport
from ..evaluation.stack_table import stack_table, stacks_to_json
from ..evaluation.table import table, to_json
from ..io.atomic import check_output
from ..io.readers import read_segmentation
from ..jobs.calibration import slowness
from ..jobs.estimates import Slowness, estimate
from ..runtime.devices import SelectedDevice, choose
from .console import note, result, say
from .evaluate_paper import run_paper_table
from .evaluate_record import record
from .evaluate_stacks import compare_several, compare_simulated, preset_names, refuse_without_stacks
from .expectation import expect_presets, kind_of
from .inputs import read_volume

if TYPE_CHECKING:
    from rich.table import Table

T = TypeVar("T")


def run(arguments: Namespace) -> None:
    """Do what `evaluate` was asked for; raises a ReconstructionError for whatever is wrong."""
    _check_paths(arguments)
    refuse_without_stacks(arguments)
    selected = choose(arguments.device)
    note(selected.note)
    if arguments.paper_table:
        run_paper_table(arguments, selected)
        return
    if arguments.stacks or arguments.simulate_stacks:
        _run_stacks(arguments)
        return
    image = read_volume(arguments)
    if image.grid.depths:
        raise InputError("The slices lie unevenly, and hidden ones can only be compared where they are even. Give an "
                         "even volume.")
    axis = image.grid.named_axis(arguments.axis) if arguments.axis else image.grid.thickest_axis()
    selection, hidden = _given(arguments, image.grid.count(axis))
    segmentation = (aligned_to(read_segmentation(arguments.labels, image.grid), image.grid) if arguments.labels
                    else None)
    names = _names(arguments, segmentation is not None, hidden)
    further = _further_methods(arguments, hidden)
    for peer in (further[name] for name in names if name in further):
        if isinstance(peer, (Eclare, NnUnet)):
            peer.prepare()  # a mistake shows now rather than hours later
    _expect(arguments, selected, image.grid, {axis: selection}, segmentation, names, hidden)
    report = evaluate(image, segmentation, axis, selection, names, further,
                      lambda name: note(f"{names.index(name) + 1} of {len(names)}: {name}"), hidden)
    succeeded = any(row.failure is None for row in report.rows)
    as_json = partial(to_json, asked=record(arguments, [name for name in names if name in PRESETS]))
    _tell(table(report), _write(report, report, as_json, arguments, succeeded), arguments)
    if not succeeded:
        raise ReconstructionError("No method succeeded. The table says why.")


def _expect(arguments: Namespace, selected: SelectedDevice, grid: Grid, given: dict[Axis, Selection],
            segmentation: Segmentation | None, names: Sequence[str], hidden: Hidden) -> None:
    """Tell how long the presets take, and ask whether to go on where that is long; raises Cancelled if not."""
    axis, = given
    everything, labels = {axis: Selection.every(grid.count(axis), 1)}, segmentation is not None
    filled = len(segmentation.segments) if segmentation is not None and hidden == "labels" else 0
    presets = [name for name in names if name in PRESETS]
    slow = slowness(selected.device) if presets else Slowness()
    expect_presets(presets, [estimate(grid, everything if filled else given, labels, name, kind_of(selected), filled,
                                      fits=not filled, slowness=slow).seconds for name in presets])


def _run_stacks(arguments: Namespace) -> None:
    """Compare ways of making one volume of several stacks, real or simulated."""
    found = compare_several(arguments) if arguments.stacks else compare_simulated(arguments)
    as_json = partial(stacks_to_json, asked=record(arguments, preset_names(arguments)))
    _tell(stack_table(found), _write(found, found.pictured(), as_json, arguments, True), arguments)
    if all(row.failure is not None for row in found.rows if not row.is_baseline):
        raise ReconstructionError("No reconstruction succeeded. The table says why.")


def _tell(scores: Table, written: dict[str, str], arguments: Namespace) -> None:
    """Print the table, and where the files are."""
    try:
        result(scores)
    except OutputError:
        if not arguments.json:  # where the scores are
            raise
    for content, path in written.items():
        say(f"{content + ':':<8} {path}")


def _write(report: T, pictured: EvaluationReport, as_json: Callable[[T, str], None], arguments: Namespace,
           succeeded: bool) -> dict[str, str]:
    """Write scores and figure, before anything depends on the terminal; returns where each is."""
    written: dict[str, str] = {}
    if arguments.json:
        as_json(report, arguments.json)
        written["scores"] = arguments.json
    if arguments.figure and succeeded:
        figure(pictured, arguments.figure, arguments.volume)
        written["figure"] = arguments.figure
    return written


def _given(arguments: Namespace, count: int) -> tuple[Selection, Hidden]:
    """The slices that the methods are given, or of which they are given the labels, and which of both it is."""
    if arguments.labels_keep_every is not None:
        return Selection.every(count, arguments.labels_keep_every), "labels"
    if arguments.keep_every is not None:
        return Selection.every(count, arguments.keep_every), "slices"
    return Selection.all_but_every(count, arguments.hide_every), "slices"


def _further_methods(arguments: Namespace, hidden: Hidden) -> dict[str, Method]:
    """The methods to choose from that are no baselines."""
    if hidden == "labels":
        ours = {name: PresetMethod(preset, arguments.device, arguments.seed, hidden, arguments.memory)
                for name, preset in PRESETS.items()}
        return {**ours, "nnunet": NnUnet(arguments.nnunet_python, arguments.device, arguments.nnunet_epochs)}
    presets = {name: PresetMethod(preset, arguments.device, arguments.seed, limit=arguments.memory)
               for name, preset in {**PRESETS, "innergs-style": INNERGS_STYLE}.items()}
    return {**presets, "eclare": Eclare(arguments.eclare_python, arguments.device)}


def _names(arguments: Namespace, labels: bool, hidden: Hidden) -> list[str]:
    """The methods to compare."""
    if arguments.methods is not None:
        return [name.strip() for name in arguments.methods.split(",")]
    if hidden == "labels":
        return [*LABEL_BASELINES, DEFAULT_PRESET, *(["nnunet"] if arguments.nnunet_python is not None else [])]
    eclare = ["eclare"] if arguments.eclare_python is not None else []
    return [*baseline_names(labels), DEFAULT_PRESET, *eclare]


def _check_paths(arguments: Namespace) -> None:
    """Find out before the work whether there are labels to hide, and scores and figure can be written."""
    if arguments.labels_keep_every is not None and not arguments.labels:
        raise InputError("--labels-keep-every hides labels. Give them with --labels.")
    if arguments.json:
        check_output(Path(arguments.json), ".json")
    if arguments.figure:
        check_output(Path(arguments.figure), ".png", ".pdf", ".svg")
        if find_spec("matplotlib") is None:
            raise MissingPackageError("The figure needs matplotlib. Install it with 'pip install matplotlib'.")
