"""`info`: what a saved model is, and how it was made."""
from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

import numpy as np

from ..model.model import Model
from ..model.model_file import open_model
from ..runtime.standard_streams import visible
from .console import result
from .saved_model import box_of, corners_of, pixel_of


def run(arguments: Namespace) -> None:
    """Print the facts as a table or as JSON; raises InputError for what is no model."""
    file = open_model(arguments.model)
    facts = {"form": file.form, "size_bytes": file.size, **describe(file.model)}
    if arguments.json:
        result(json.dumps(facts, indent=1).replace("\x7f", "\\u007f"))  # the one control character that JSON leaves
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(escape(_title(name)), escape(_text(value)))
    result(table)


def describe(model: Model) -> dict[str, Any]:
    """Return the facts about `model`, JSON-compatible."""
    size = np.ptp(box_of(model), axis=0)
    return {
        "gaussians": model.count, "compositing": model.mode,
        "size_mm": [round(float(x), 3) for x in size],
        "centre_lps_mm": [round(float(x), 3) for x in corners_of(model).mean(axis=0)],
        "pixel_mm": [round(float(x), 4) for x in pixel_of(model)],
        "intensity_range": [model.intensity.lowest, model.intensity.highest],
        "mean_expected_error_between_slices": _mean_error(model),
        "labels": [segment.name for segment in model.segments], **model.provenance}


def _mean_error(model: Model) -> float:
    """The mean expected error of what was seen; elsewhere it is the whole range of intensities."""
    errors, whole = model.expected_error.middle, model.intensity.highest - model.intensity.lowest
    seen = errors[errors < np.float32(whole)]
    return float(seen.mean() if len(seen) else whole)


def _title(name: str) -> str:
    return visible(name.replace("_", " "))


def _text(value: Any, separator: str = "\n") -> str:
    if isinstance(value, dict):
        return separator.join(f"{_title(name)}: {_text(entry, ', ')}" for name, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(entry) for entry in value) or "none"
    return f"{value:g}" if isinstance(value, float) else visible(str(value))
