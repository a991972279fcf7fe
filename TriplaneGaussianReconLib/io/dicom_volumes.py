"""Several volumes in one series: told apart by what differs, and one of them chosen; copies are set aside."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

import numpy as np

from ..errors import InputError
from .dicom_files import named
from .dicom_frames import Frame
from .dicom_marks import Value, described, marks_of
from .dicom_pixels import stored_frames

_SAME_PLACE = 1e-3  # mm
_TOGETHER = 3  # fields that may have to be taken together to tell volumes apart
_LISTED = 12  # volumes that a message lists
_TOLD = 3  # fields that it tells of each
_APART = 2.5  # slice distances between stacks that are no gap in one volume
Places = list[list[Frame]]  # the frames of each place, which ascend along the normal


def chosen_volume(frames: list[Frame], wanted: int | None, notes: list[str]) -> list[Frame]:
    """Return the frames of one volume, one at a place, ascending along the normal.

    Args:
        frames: Of one series: parallel, of one size.
        wanted: Which volume, from 1, where there are several.
        notes: Takes up which copies were set aside.

    Raises:
        InputError: there are several volumes and none is chosen, which are then listed, or not the one that is wanted.
    """
    places = _places(_without_copies(frames, notes))
    _check_beside(places)
    volumes, names = _volumes(places, notes)
    if wanted is None and len(volumes) > 1:
        where = " at the same places" if max(map(len, places)) > 1 else ", one stack beyond another"
        raise InputError(f"its series holds {len(volumes)} volumes{where}: {_listed(volumes, names)}. "
                         "Choose one with --volume-number.")
    if wanted is not None and not 1 <= wanted <= len(volumes):
        there = f"{len(volumes)} volumes: {_listed(volumes, names)}" if len(volumes) > 1 else "one volume alone"
        raise InputError(f"there is no volume number {wanted}; its series holds {there}.")
    return volumes[(wanted or 1) - 1]


def _places(frames: Iterable[Frame]) -> Places:
    normal = next(iter(frames)).normal
    places: Places = []
    last = -np.inf
    for frame in sorted(frames, key=lambda frame: float(frame.position @ normal)):
        depth = float(frame.position @ normal)
        if depth - last > _SAME_PLACE:
            places.append([])
            last = depth
        places[-1].append(frame)
    for place in places:
        place.sort(key=lambda frame: frame.order)
    return places


def _check_beside(places: Places) -> None:
    """Raise InputError where slices lie side by side in one plane, or all at one place."""
    for place in places:
        first = place[0]
        apart = max(float(np.linalg.norm(frame.position - first.position)) for frame in place)
        if apart > max(first.spacing):
            raise InputError(f"its DICOM slices lie side by side, up to {apart:.4g} mm apart in one plane, as "
                             f"'{first.name}' does. Keep only the slices of one stack in the folder.")
    if len(places) == 1 and len(places[0]) > 1:
        raise InputError(f"its {len(places[0])} DICOM frames lie at one place (frames over time, or a single slice "
                         "many times). Give the slices of a volume.")


def _without_copies(frames: list[Frame], notes: list[str]) -> list[Frame]:
    """Leave out files that are there twice: of one identity and with the same pixels."""
    kept: dict[tuple[str, int, bytes], Frame] = {}
    copies: list[Frame] = []
    others: list[Frame] = []
    for frame in sorted(frames, key=lambda frame: frame.order):
        identity = str(frame.fields.whole.get("SOPInstanceUID") or ""), frame.index, frame.position.tobytes()
        first = kept.setdefault(identity, frame) if identity[0] else frame
        if first is not frame:
            (copies if _same_pixels(first, frame) else others).append(frame)
        elif not identity[0]:
            others.append(frame)
    if copies:
        notes.append(_copies_note(copies, "with the same pixels"))
    return [*kept.values(), *others]


def _copies_note(copies: list[Frame], what: str) -> str:
    return (f"{len(copies)} slice{'s are' if len(copies) > 1 else ' is'} there again {what}, which "
            f"{'are' if len(copies) > 1 else 'is'} not used: {named([copy.name for copy in copies])}. The first of "
            "each is.")


def _same_pixels(one: Frame, other: Frame) -> bool:
    first, second = (next(stored_frames(frame.file, [frame.index])) for frame in (one, other))
    return (one.slope, one.intercept) == (other.slope, other.intercept) and np.array_equal(first, second)


def _volumes(places: Places, notes: list[str]) -> tuple[Places, list[str]]:
    """Return the frames of each volume, and what tells it from the others."""
    if max(map(len, places)) == 1:
        return _stacks([place[0] for place in places])
    frames = [frame for place in places for frame in place]
    marks = {frame: marks_of(frame) for frame in frames}
    number_of = {frame: number for number, place in enumerate(places) for frame in place}
    differing = [name for name in marks[frames[0]] if len({marks[frame].get(name) for frame in frames}) > 1]
    for together in range(1, min(_TOGETHER, len(differing)) + 1):
        found = [groups for names in combinations(differing, together)
                 if (groups := _groups(frames, marks, names, number_of))]
        if found:
            volumes = min(found, key=len)
            return volumes, [_name(volume, marks, differing, frames) for volume in volumes]
    return _by_instance(_without_equal(places, notes), notes)


def _stacks(frames: list[Frame]) -> tuple[Places, list[str]]:
    """Return the stacks that the header numbers and that lie apart: what is between them was never scanned.

    Stacks that adjoin or interleave are one volume, acquired in parts.
    """
    depths = [float(frame.position @ frames[0].normal) for frame in frames]
    numbers = [str(frame.fields.get("StackID", "FrameContentSequence") or "") for frame in frames]
    stacks: Places = [[frames[0]]]
    inside: list[float] = []
    between: list[float] = []
    for index in range(1, len(frames)):
        is_next = numbers[index] != numbers[index - 1]
        (between if is_next else inside).append(depths[index] - depths[index - 1])
        if is_next:
            stacks.append([])
        stacks[-1].append(frames[index])
    if not between or len(stacks) != len(set(numbers)) or min(map(len, stacks)) < 2 \
            or min(between) <= _APART * max(inside):
        return [frames], [""]
    return stacks, [f"stack {number}" for number in dict.fromkeys(numbers)]


def _groups(frames: list[Frame], marks: dict[Frame, dict[str, Value]], names: tuple[str, ...],
            number_of: dict[Frame, int]) -> Places:
    """Return the volumes into which these fields part the frames; none if two slices of one lie at one place."""
    groups: dict[tuple[Value, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[tuple(marks[frame].get(name, ()) for name in names)].append(frame)
    for group in groups.values():
        if len(group) < 2 or len({number_of[frame] for frame in group}) < len(group):
            return []
    return [groups[value] for value in sorted(groups)]


def _name(volume: list[Frame], marks: dict[Frame, dict[str, Value]], differing: list[str], frames: list[Frame]) -> str:
    """What all slices of a volume have in common, and those of others do not."""
    told: dict[str, str] = {}
    for mark in differing:
        values = {marks[frame].get(mark, ()) for frame in volume}
        if len(values) == 1 and len({marks[frame].get(mark) for frame in frames}) <= len(frames) // 2:
            told.setdefault(mark.split("|")[1], described(mark, values.pop()))
    return ", ".join(list(told.values())[:_TOLD])


def _without_equal(places: Places, notes: list[str]) -> Places:
    """Leave out frames with the pixels of an earlier one at the same place."""
    copies: list[Frame] = []
    kept = []
    for place in places:
        different: list[Frame] = []
        for frame in place:
            is_copy = any(_same_pixels(other, frame) for other in different)
            (copies if is_copy else different).append(frame)
        kept.append(different)
    if copies:
        notes.append(_copies_note(copies, "with the same pixels"))
    return kept


def _by_instance(places: Places, notes: list[str]) -> tuple[Places, list[str]]:
    """Where nothing tells volumes apart: n slices at every place are n volumes, else the first of each is used."""
    count = len(places[0])
    if count > 1 and all(len(place) == count for place in places):
        return ([[place[number] for place in places] for number in range(count)],
                [f"from '{places[0][number].name}' on, told apart only by the order of the slices"
                 for number in range(count)])
    copies = [frame for place in places for frame in place[1:]]
    if copies:
        notes.append(_copies_note(copies, "with other pixels at the same place"))
    return [[place[0] for place in places]], [""]


def _listed(volumes: Places, names: list[str]) -> str:
    listing = "; ".join(f"{number}: {name}{', ' * bool(name)}{len(volume)} slice{'s' * (len(volume) > 1)}"
                        for number, (volume, name) in enumerate(zip(volumes, names, strict=True), start=1)
                        if number <= _LISTED)
    return listing + ("; ..." if len(volumes) > _LISTED else "")
