"""What the DICOM standard demands of an object, after the tables that highdicom brings (no network is needed)."""
from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import highdicom
import pydicom

_TABLES = Path(highdicom.__file__).parent / "_standard"

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def lacking(dataset: pydicom.Dataset) -> list[str]:
    """Return the attributes that modules of the object's class demand and that are missing, or empty where they may
    not be.

    Those that are demanded under a condition are left to whoever knows the condition.
    """
    classes, modules, attributes = _tables()
    wrong = []
    for module in modules[classes[dataset.SOPClassUID]]:
        if module["usage"] != "M" and module["key"] not in ("frame-of-reference", "sop-common"):
            continue
        for attribute in attributes[module["key"]]:
            for item in _items(dataset, attribute["path"]):
                keyword, kind = attribute["keyword"], attribute["type"]
                if keyword == "PlanePositionSlideSequence":
                    continue  # of microscopes
                if len(attribute["path"]) == 1 and attribute["path"][0] in _GROUPS and any(
                        keyword in group for name in _GROUPS for group in dataset[name].value):
                    continue  # a functional group stands in one of the two
                if kind in ("1", "2") and keyword not in item or kind == "1" and item[keyword].is_empty:
                    wrong.append(f"{module['key']}: {'/'.join([*attribute['path'], keyword])} ({kind})")
    return wrong


@cache
def _tables() -> tuple[Any, ...]:
    return tuple(json.loads((_TABLES / f"{name}_map.json").read_text())
                 for name in ("sop_class_iod", "iod_module", "module_attribute"))


def _items(dataset: Any, path: list[str]) -> Iterator[Any]:
    """Yield all datasets at a path of sequences, as far as these are there."""
    if not path:
        yield dataset
        return
    for item in dataset.get(path[0]) or ():
        yield from _items(item, path[1:])
