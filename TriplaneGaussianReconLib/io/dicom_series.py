"""Which series of a folder is read."""
from __future__ import annotations

from collections import defaultdict

from ..errors import InputError
from .dicom_header import DicomFile, text
from .dicom_pixels import frame_count


def chosen_series(files: list[DicomFile], wanted: str, notes: list[str]) -> list[DicomFile]:
    """Return the files of one series.

    Args:
        files: All that were found.
        wanted: UID, number, description or a part of that which no other has; empty for the series with most slices.
        notes: Takes up what was chosen where there was a choice.

    Raises:
        InputError: none or several are what is wanted; the message lists them.
    """
    by_uid: dict[str, list[DicomFile]] = defaultdict(list)
    for file in files:
        by_uid[text(file.dataset, "SeriesInstanceUID")].append(file)
    series = sorted(by_uid.values(), key=lambda members: (_number(members), text(members[0].dataset,
                                                                                 "SeriesInstanceUID")))
    if wanted.strip():
        return _wanted(series, wanted)
    chosen = max(series, key=_slices)
    if len(series) > 1:
        notes.append(f"The folder holds {len(series)} DICOM series: {_listed(series)}. Reading the largest, "
                     f"{_described(chosen)}. Choose another with --series, by number, description or UID.")
    return chosen


def _wanted(series: list[list[DicomFile]], wanted: str) -> list[DicomFile]:
    """The one that is meant: by UID, else by number, else by description, else by a part of it."""
    sought = wanted.strip().lower()
    tests = (lambda one: sought == text(one.dataset, "SeriesInstanceUID"),
             lambda one: sought == text(one.dataset, "SeriesNumber"),
             lambda one: sought == text(one.dataset, "SeriesDescription").lower(),
             lambda one: sought in text(one.dataset, "SeriesDescription").lower())
    for test in tests:
        found = [members for members in series if test(members[0])]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"{len(found)} DICOM series match '{wanted}': {_listed(found)}. Choose one by its UID.")
    raise InputError(f"no DICOM series matches '{wanted}'. There are: {_listed(series)}. Choose one of them with "
                     "--series, by number, description or UID.")


def _number(members: list[DicomFile]) -> float:
    stated = text(members[0].dataset, "SeriesNumber")
    return float(stated) if stated.lstrip("-").isdigit() else float("inf")


def _slices(members: list[DicomFile]) -> int:
    return sum(frame_count(member) for member in members)


def _listed(series: list[list[DicomFile]]) -> str:
    return "; ".join(f"{_described(members)}, {len(members)} file{'s' * (len(members) > 1)}"
                     + (f", {_slices(members)} slices" if _slices(members) > len(members) else "")
                     + f", {text(members[0].dataset, 'SeriesInstanceUID') or 'no UID'}" for members in series)


def _described(members: list[DicomFile]) -> str:
    first = members[0].dataset
    return (f"number {text(first, 'SeriesNumber') or 'unknown'}, "
            f"'{text(first, 'SeriesDescription') or 'no description'}'")
