"""What is to be done: cases from a table, a row each, or from the files that a pattern finds."""
from __future__ import annotations

import csv
import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, cause

_COLUMNS = ("id", "volume", "labels", "time-limit")  # besides those with options
_YES, _NO = ("yes", "true", "1"), ("", "no", "false", "0")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=@-]{0,199}")  # of a folder, on every system
_LONGEST_ROW = 2 ** 20
FILE_OPTIONS = ("mask", "to-first", "output-grid")  # of which the value is a file, or may be
_NO_FILES = ("union", "first")  # of `output-grid`


@dataclass(frozen=True)
class Case:
    """One reconstruction of a cohort.

    Attributes:
        name: Of its folder, unlike that of all other cases.
        volumes: Files or folders; of several of one body, the first gives place and grey values.
        labels: Segmentation of the first; empty without.
        options: Of `reconstruct`, each joined with its value: `--keep-every=4`.
        results: Where results go that are not to be in the folder of the case: file below the output by kind, see
            `folder.Folder`.
        time_limit: Seconds that it may take; None for what suits its size.
    """

    name: str
    volumes: tuple[str, ...]
    labels: str = ""
    options: tuple[str, ...] = ()
    results: tuple[tuple[str, str], ...] = ()
    time_limit: float | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """All files and folders that it reads."""
        named = (self.option(name) for name in FILE_OPTIONS)
        return (*self.volumes, *(path for path in (self.labels, *named) if os.path.isabs(path)))

    def option(self, name: str) -> str:
        """Return the value of an option, the last that is given; empty without."""
        values = [value for each in self.options for key, _, value in (each.partition("="),) if key == f"--{name}"]
        return values[-1] if values else ""


def read_manifest(path: Path, options: Mapping[str, bool], common: Sequence[str] = ()) -> list[Case]:
    """Read a table of cases (CSV, UTF-8, with a head); paths are relative to its folder.

    Args:
        path: The table.  Columns: `id`, `volume` (several separated by `;`), `labels`, `time-limit` (seconds), and any
            option without its dashes; an empty cell leaves the option as it is for all.
        options: Which options there may be, and whether each takes a value; those that take none are `yes` or empty.
        common: Options of all cases.

    Raises:
        InputError: It cannot be read, or a row cannot be used; the message names the row.
    """
    csv.field_size_limit(_LONGEST_ROW)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            head = [name.strip() for name in table.fieldnames or ()]
            _check_head(path, head, options)
            table.fieldnames = head
            return unlike([_of_row(path, table.line_num, row, options, common) for row in table], path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The table '{path}' cannot be read: {cause(error)}. Give a CSV file in UTF-8.") from error


def found(pattern: str, labels: str = "", common: Sequence[str] = ()) -> list[Case]:
    """Return a case for each file or folder that a pattern finds; what its wildcards stand for names the case.

    Args:
        pattern: Such as `data/*/T2.nii.gz`.
        labels: Pattern of their segmentations with the same wildcards; a case without such a file has none.
        common: Options of all cases.

    Raises:
        InputError: Nothing is found, or two cases would have the same name.
    """
    found_volumes = list(_named(pattern))
    if not found_volumes:
        raise InputError(f"Nothing is found by '{pattern}'. Give a pattern such as 'data/*/T2.nii.gz', in quotes.")
    segmentations = dict(_named(labels)) if labels else {}
    if labels and not segmentations.keys() & {name for name, _ in found_volumes}:
        raise InputError(f"None of what '{labels}' finds belongs to what '{pattern}' finds. Use the same wildcards.")
    return unlike([Case(_checked(name, f"'{path}'"), (path,), segmentations.get(name, ""), tuple(common))
                   for name, path in found_volumes], Path(pattern))


def unlike(cases: list[Case], source: Path) -> list[Case]:
    """Return the cases; raises InputError where there are none, or two with a name that some system takes for one."""
    if not cases:
        raise InputError(f"There is no case in '{source}'. Give at least one.")
    seen: dict[str, str] = {}
    for case in cases:
        if case.name.lower() in seen:
            raise InputError(f"Two cases of '{source}' are called '{seen[case.name.lower()]}' and '{case.name}'. Give "
                             "each a name of its own.")
        seen[case.name.lower()] = case.name
    return cases


def _check_head(path: Path, head: Sequence[str], options: Mapping[str, bool]) -> None:
    if not {"id", "volume"} <= {*head}:
        raise InputError(f"The table '{path}' has the columns {', '.join(head) or 'of none'}, and needs at least 'id' "
                         "and 'volume'. Its first row is its head.")
    unknown = [name for name in head if name not in (*_COLUMNS, *options)]
    if unknown:
        raise InputError(f"The table '{path}' has the column '{unknown[0]}', which is no option. Use id, volume, "
                         f"labels, time-limit, or one of {', '.join(options)}.")


def _of_row(path: Path, number: int, row: Mapping[str | None, str | None], options: Mapping[str, bool],
            common: Sequence[str]) -> Case:
    where = f"row {number} of '{path}'"
    if None in row:
        raise InputError(f"In {where} there are more cells than columns. Put cells with commas into quotes.")
    cells = {str(name): (text or "").strip() for name, text in row.items()}
    volumes = tuple(_below(path, part.strip()) for part in cells["volume"].split(";") if part.strip())
    if not volumes:
        raise InputError(f"In {where} there is no volume. Name its file.")
    own = [word for name in options if cells.get(name)
           for word in _words(name, cells[name], options[name], path, where)]
    limit = cells.get("time-limit", "")
    if limit and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", limit):
        raise InputError(f"In {where} the time limit is '{limit}'. Give a number of seconds.")
    return Case(_checked(cells["id"], where), volumes, _below(path, cells.get("labels", "")), (*common, *own),
                time_limit=float(limit) if limit else None)


def _words(name: str, text: str, takes_value: bool, path: Path, where: str) -> Iterable[str]:
    """An option as it would be typed."""
    if takes_value:
        return (joined(name, text, path.parent),)
    if text.lower() not in (*_YES, *_NO):
        raise InputError(f"In {where}, '{name}' is '{text}'. Write yes, or leave it empty.")
    return (f"--{name}",) if text.lower() in _YES else ()


def _below(table: Path, text: str) -> str:
    """A path of a table, seen from where the program runs."""
    return os.path.abspath(os.path.join(table.parent, text)) if text else ""


def joined(name: str, value: str, folder: Path) -> str:
    """Return an option with its value; a file is named as seen from everywhere, `folder` being where it was named."""
    is_file = name in FILE_OPTIONS and value not in _NO_FILES
    return f"--{name}={os.path.abspath(folder / value) if is_file else value}"


def _checked(name: str, where: str) -> str:
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise InputError(f"The name '{name}' of {where} cannot be that of a folder. Use letters, digits, dots, dashes "
                         "and underscores.")
    return name


def _named(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield the name and path of what a pattern finds, in alphabetical order."""
    wild = re.compile("".join(_PARTS.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*|\?)", pattern)))
    for path in sorted(glob.glob(pattern, recursive=True)):
        matched = wild.fullmatch(path.replace(os.sep, "/"))
        parts = [part for part in matched.groups() if part] if matched else []
        yield re.sub(r"[^A-Za-z0-9._+=@-]+", "_", "_".join(parts)).strip("_") or Path(path).name.partition(".")[0], (
            os.path.abspath(path))


_PARTS = {"**/": "(?:(.*)/)?", "*": "([^/]*)", "?": "([^/])"}  # what wildcards stand for
