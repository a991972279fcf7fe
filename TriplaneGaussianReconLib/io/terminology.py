"""What a segment is, as codes: as DICOM has them, and as 3D Slicer writes them into a `.seg.nrrd`.

Slicer's text is `context~category~type~type modifier~anatomic context~region~region modifier`, where each code is
`scheme^value^meaning`; it stands in the segment's tags, `TerminologyEntry:text|`.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

_CONTEXT = "Segmentation category and type - DICOM master list"
_ANATOMIC_CONTEXT = "Anatomic codes - DICOM master list"
_ENTRY = re.compile(r"TerminologyEntry:([^|]*)\|")


class Code(NamedTuple):
    """A coded concept; without a value it is none."""

    scheme: str = ""
    value: str = ""
    meaning: str = ""


class Terminology(NamedTuple):
    """What a segment is."""

    category: Code = Code()
    kind: Code = Code()
    modifier: Code = Code()
    region: Code = Code()
    region_modifier: Code = Code()


UNSPECIFIC = Terminology(Code("SCT", "85756007", "Tissue"), Code("SCT", "85756007", "Tissue"))  # Slicer's own default


def tags_of(terminology: Terminology) -> str:
    """Return the tags that tell 3D Slicer what a segment is."""
    category, kind, modifier, region, region_modifier = ("^".join(map(_plain, code)) for code in terminology)
    entry = "~".join([_CONTEXT, category, kind, modifier, _ANATOMIC_CONTEXT, region, region_modifier])
    return f"TerminologyEntry:{entry}|"


def terminology_in(tags: str) -> Terminology | None:
    """Return what the tags of a segment tell; None if that lacks a category or type."""
    match = _ENTRY.search(tags if tags.endswith("|") else tags + "|")
    parts = match[1].split("~") if match else []
    if len(parts) < 3:
        return None
    parts += [""] * (7 - len(parts))
    codes = [Code(*(part.split("^") + ["", "", ""])[:3]) for n, part in enumerate(parts[:7]) if n not in (0, 4)]
    terminology = Terminology(*codes)
    return terminology if terminology.category.value and terminology.kind.value else None


def terminology_of(segment: Any) -> Terminology | None:
    """Return what an item of a DICOM segment sequence tells; None if that lacks a category or type."""
    kind = _first(segment, "SegmentedPropertyTypeCodeSequence")
    region = _first(segment, "AnatomicRegionSequence")
    terminology = Terminology(
        _code(_first(segment, "SegmentedPropertyCategoryCodeSequence")), _code(kind),
        _code(_first(kind, "SegmentedPropertyTypeModifierCodeSequence")), _code(region),
        _code(_first(region, "AnatomicRegionModifierSequence")))
    return terminology if terminology.category.value and terminology.kind.value else None


def _first(dataset: Any, keyword: str) -> Any:
    """Return the first item of a sequence, None where there is none."""
    items: Iterable[Any] = (dataset.get(keyword) if dataset is not None else None) or ()
    return next(iter(items), None)


def _code(item: Any) -> Code:
    if item is None:
        return Code()
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or ""
    return Code(str(item.get("CodingSchemeDesignator", "")), str(value), str(item.get("CodeMeaning", "")))


def _plain(text: str) -> str:
    """Without the signs that divide Slicer's text."""
    return re.sub(r"[~^|]", " ", text)
