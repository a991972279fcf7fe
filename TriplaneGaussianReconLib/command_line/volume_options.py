"""Options that belong to the volume they follow: which words of a command go with which of several volumes."""
from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The words of a command with several volumes.

    Attributes:
        whole: Options of the whole: all before the first volume, and those of no volume wherever they stand; then the
            path of the first volume.
        volumes: Of each volume its options, then its path.
    """

    whole: tuple[str, ...]
    volumes: tuple[tuple[str, ...], ...]


def split(argv: Iterable[str], options: Mapping[str, bool], of_volume: Collection[str]) -> Words | None:
    """Sort the words of a command.

    Args:
        argv: The words.
        options: All options by their whole names, and whether a value follows.
        of_volume: Those that belong to the volume they follow.

    Returns:
        None where there are fewer than two volumes.  Options that are not known are of the whole: the parser will tell.

    Example:
        >>> known = {"--axis": True, "--seed": True, "--fast": False}
        >>> split(["--axis", "k", "a", "--fast", "b", "--seed=3", "--ax", "j"], known, {"--axis"}).volumes
        (('a',), ('--ax', 'j', 'b'))
    """
    whole: list[str] = []
    paths: list[str] = []
    own: list[list[str]] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            paths += (rest := list(words))
            own += [[] for _ in rest]
        elif not word.startswith("-") or word == "-" or re.fullmatch(r"-\d+|-\d*\.\d+", word):
            paths.append(word)
            own.append([])
        else:
            start, has_value, _ = word.partition("=")
            name = _whole_name(start, options)
            follows = name is not None and options[name] and not has_value
            taken = [word, *([next(words, None)] if follows else [])]
            (own[-1] if own and name in of_volume else whole).extend(part for part in taken if part is not None)
    if len(paths) < 2:
        return None
    volumes = [(*of, *_as_path(path)) for of, path in zip(own, paths, strict=True)]
    return Words((*whole, *_as_path(paths[0])), tuple(volumes))


def _as_path(word: str) -> tuple[str, ...]:
    """The words that make a parser take `word` for a path."""
    return ("--", word) if word.startswith("-") else (word,)


def _whole_name(start: str, options: Collection[str]) -> str | None:
    """Return the option that is meant, which may be shortened; None where it is not known, or one of several."""
    if start in options:
        return start
    meant = [name for name in options if name.startswith(start)] if start.startswith("--") else []
    return meant[0] if len(meant) == 1 else None
