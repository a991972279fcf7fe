"""Functions and files stay short, nothing stands twice, and packages are empty but for their files."""
from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from source_code import KERNELS, LIBRARY, MODULE, shown, sources

LONGEST_FUNCTION, LONGEST_FILE, BLOCK = 60, 450, 10  # lines


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """The name of each function of a file, and how many lines it has, decorators left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno:
            yield node.name, node.end_lineno - node.lineno + 1


def code_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of the lines of a file without imports and blank lines, white space made equal."""
    text = path.read_text(encoding="utf-8")
    imports = {number for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))
               for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return [(number, " ".join(line.split())) for number, line in enumerate(text.splitlines(), start=1)
            if line.strip() and number not in imports]


def test_no_function_is_long() -> None:
    long = [f"{shown(path)}: {name}, {lines} lines" for path in sources() if not path.name.endswith(KERNELS)
            for name, lines in functions(path) if lines > LONGEST_FUNCTION]
    assert not long, "\n".join(long)


def test_no_file_is_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    long = [f"{shown(path)}: {lines} lines" for path, lines in lengths.items()
            if lines > LONGEST_FILE and not path.name.endswith(KERNELS)]
    assert not long, "\n".join(long)


def test_no_block_of_lines_stands_twice() -> None:
    places: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path in sources():
        lines = code_lines(path)
        for start in range(len(lines) - BLOCK + 1):
            block = lines[start:start + BLOCK]
            places[tuple(text for _, text in block)].append(f"{shown(path)}:{block[0][0]}")
    twice = [" = ".join(where) for where in places.values() if len(where) > 1]
    assert not twice, "\n".join(twice)


def test_packages_hold_nothing_but_their_files() -> None:
    """So that importing one file of a package imports no other."""
    tops = {LIBRARY / "__init__.py", MODULE / "TriplaneGaussianReconModule" / "__init__.py"}
    full = [shown(path) for path in sources() if path.name == "__init__.py" and path not in tops and path.read_bytes()]
    assert not full, "\n".join(full)
