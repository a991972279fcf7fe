"""What `evaluate` was asked, as its JSON has it: enough to do it again."""
from __future__ import annotations

from argparse import Namespace
from typing import Any

from .. import __version__
from ..pipeline.report import PRODUCT
from ..runtime.devices import choose

_OF_A_VOLUME = ("volume", "labels", "mask", "series", "volume_number", "spacing", "axis", "thickness", "profile",
                "to_first")
_SAID_APART = ("command", "stacks", "json", "figure", "device", "seed", *_OF_A_VOLUME)


def record(arguments: Namespace, presets: list[str]) -> dict[str, Any]:
    """Return what was asked, JSON-compatible; what was not given is left out.

    Args:
        arguments: Of the command.
        presets: The methods that are presets of this program.
    """
    volumes = arguments.stacks or (arguments,)
    return {"product": PRODUCT, "version": __version__,
            "inputs": [_given(options, _OF_A_VOLUME) for options in volumes],
            "presets": presets, "seed": arguments.seed, "device": str(choose(arguments.device).device),
            "options": _given(arguments, [name for name in vars(arguments) if name not in _SAID_APART])}


def _given(options: Namespace, names: tuple[str, ...] | list[str]) -> dict[str, Any]:
    values = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None and value is not False and value != ""}
