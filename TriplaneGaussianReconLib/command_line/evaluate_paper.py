"""`evaluate FOLDER --paper-table`: the tables of the paper, on volumes at hand."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..config.baseline_presets import INNERGS_STYLE
from ..config.presets import PRESETS, Preset, in_steps
from ..data.alignment import aligned_to
from ..data.geometry import AXES
from ..data.images import Image
from ..data.selection import Selection
from ..errors import InputError
from ..evaluation import metrics
from ..evaluation.lpips import Lpips
from ..evaluation.methods import BASELINES, Method
from ..evaluation.paper_table import (
    ALL_AXES_SHARE,
    DIFFERENCES,
    PUBLISHED,
    PUBLISHED_AXES,
    SHARES,
    PaperRow,
    Scan,
    one_axis,
    three_axes,
)
from ..evaluation.preset_method import PresetMethod
from ..io.atomic import write_json
from ..io.readers import read_image, read_segmentation
from ..jobs.calibration import slowness
from ..jobs.estimates import estimate
from ..runtime.devices import SelectedDevice
from .console import note, result
from .expectation import expect_presets, kind_of

if TYPE_CHECKING:
    from rich.table import Table

_METHODS = ("linear", "innergs-style", "paper", "paper-normalised")
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mgz", ".npz")
_LABEL_ENDINGS = ("_seg", ".seg")  # after the name of the volume
_UNFIT = ("labels", "figure", "eclare_python", "nnunet_python", "axis", "mask", "thickness")


def run_paper_table(arguments: Namespace, selected: SelectedDevice) -> None:
    """Print both tables; raises InputError for whatever is wrong."""
    for name in _UNFIT:
        if getattr(arguments, name, None):
            raise InputError(f"--{name.replace('_', '-')} does not go with --paper-table. Leave it out.")
    lpips = Lpips.read(Path(arguments.lpips_weights)) if arguments.lpips_weights else None
    names = list(_METHODS) if arguments.methods is None else [each.strip() for each in arguments.methods.split(",")]
    presets, methods = _methods(arguments, names)
    scans = read_scans(Path(arguments.volume))
    _expect(scans, presets, selected, arguments.steps)
    rows = one_axis(scans, methods, lpips, note)
    in_three = three_axes(scans, presets, arguments.device, arguments.seed, note) if presets else []
    if arguments.json:
        write_json(Path(arguments.json), {"scans": [scan.name for scan in scans], "one_axis": [*map(asdict, rows)],
                                          "three_axes": [*map(asdict, in_three)], "remarks": DIFFERENCES})
    result(one_axis_table(rows))
    if in_three:
        result(three_axes_table(in_three))


def read_scans(folder: Path) -> list[Scan]:
    """Read all volumes of a folder; NAME_seg or NAME.seg beside NAME is its segmentation.

    Raises:
        InputError: There are none, or one cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"'{folder}' is no folder. Give one that holds volumes, and segmentations called NAME_seg or "
                         "NAME.seg beside NAME.")
    files = {path.name[:-len(end)]: path for path in sorted(folder.iterdir()) for end in _ENDINGS
             if path.name.endswith(end)}
    scans = []
    for name, path in files.items():
        if name.endswith(_LABEL_ENDINGS):
            continue
        image = read_image(path)
        labels = next((files[name + end] for end in _LABEL_ENDINGS if name + end in files), None)
        segmentation = None if labels is None else aligned_to(read_segmentation(labels, image.grid), image.grid)
        scans.append(Scan(name, Image(metrics.normalise(image.array), image.grid), segmentation))
    if not scans:
        raise InputError(f"There is no volume in '{folder}'. The endings are {', '.join(_ENDINGS)}.")
    return scans


def _methods(arguments: Namespace, names: Sequence[str]) -> tuple[dict[str, Preset], dict[str, Method]]:
    """The presets among the methods, and all methods; raises InputError for an unknown one."""
    known = {**PRESETS, INNERGS_STYLE.name: INNERGS_STYLE}
    presets: dict[str, Preset] = {}
    methods: dict[str, Method] = {}
    for name in names:
        if name in known:
            presets[name] = known[name] if arguments.steps is None else in_steps(known[name], arguments.steps)
            methods[name] = PresetMethod(presets[name], arguments.device, arguments.seed, limit=arguments.memory)
        elif name in BASELINES and not name.startswith("label-"):
            methods[name] = BASELINES[name]
        else:
            raise InputError(f"Unknown method '{name}'. Choose from "
                             f"{', '.join([*(each for each in BASELINES if not each.startswith('label-')), *known])}.")
    return presets, methods


def _expect(scans: Sequence[Scan], presets: dict[str, Preset], selected: SelectedDevice, steps: int | None) -> None:
    """Tell how long it will take, and ask whether to go on."""
    slow, kind = slowness(selected.device), kind_of(selected)
    known = [name for name in presets if name in PRESETS]
    seconds = []
    for name in known:
        total = 0.0
        for scan in scans:
            grid, axis = scan.image.grid, scan.image.grid.thickest_axis()
            cases = [{axis: Selection.percentage(grid.count(axis), share)} for share in SHARES]
            cases.append({each: Selection.percentage(grid.count(each), ALL_AXES_SHARE) for each in AXES})
            total += sum(estimate(grid, case, False, name, kind, slowness=slow, steps=steps).seconds for case in cases)
        seconds.append(total)
    expect_presets(known, seconds)


def one_axis_table(rows: Sequence[PaperRow]) -> Table:
    """Their Table 1, published figures beside ours."""
    table = _empty("Used slices of one axis", ["SSIM", "PSNR (dB)", "LPIPS"])
    for share in SHARES:
        for (of, name), values in PUBLISHED.items():
            if of == share:
                table.add_row(f"{share:g} %", f"{name}, published", *(f"{value:.4g}" for value in values), style="dim")
        for row in rows:
            if row.given == share:
                table.add_row(f"{share:g} %", row.method, *_texts(row, "ssim", "psnr", "lpips"))
    return table


def three_axes_table(rows: Sequence[PaperRow]) -> Table:
    """Their Tables 2 and 3, published figures beside ours."""
    table = _empty(f"Scored axis ({ALL_AXES_SHARE:g} % of the slices of all three used)",
                   ["SSIM", "PSNR (dB)", "Semantic loss"])
    for (axis, scan), values in PUBLISHED_AXES.items():
        table.add_row(axis, f"theirs, {scan}, published", *(f"{value:.4g}" for value in values), style="dim")
    for row in rows:
        table.add_row(str(row.given), row.method, *_texts(row, "ssim", "psnr", "semantic_loss"))
    return table


def _empty(first: str, headings: Sequence[str]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(caption="\n".join(DIFFERENCES), caption_justify="left", box=SIMPLE)
    table.add_column(first)
    table.add_column("Method", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _texts(row: PaperRow, *names: str) -> list[str]:
    """Mean and standard deviation over the scans; why there are none, where there are none."""
    if not row.scores:
        return [next(iter(row.failures.values()), ""), *[""] * (len(names) - 1)]
    return [_text(row.scores[name], 2 if name == "psnr" else 4) if name in row.scores else "" for name in names]


def _text(values: Sequence[float], decimals: int) -> str:
    return f"{np.mean(values):.{decimals}f} ± {np.std(values):.{decimals}f}"
