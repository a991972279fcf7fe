"""`export`: a saved model as .ply."""
from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from ..io.atomic import check_output
from ..model.model_file import load_model
from ..model.ply import export_ply
from .console import say


def run(arguments: Namespace) -> None:
    """Write the file; raises a ReconstructionError for whatever is wrong."""
    check_output(Path(arguments.output), ".ply")
    model = load_model(arguments.model)
    export_ply(arguments.output, model)
    say(f"{model.count} Gaussians: {arguments.output}")
