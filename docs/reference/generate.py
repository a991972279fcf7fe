"""Pages of the reference that the source alone decides: a hook of MkDocs, which calls the functions named `on_...`.

The packages, their order and what each is for come from the map in the library's docstring; what a page shows comes
from the docstrings of the modules; the page of the command line is its `--help`.
"""
from __future__ import annotations

import argparse
import ast
import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "TriplaneGaussianReconLib"
COMMAND_LINE = "reference/command_line.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation, after those that are written by hand."""
    pages: list[Any] = next(entry["Reference"] for entry in config.nav or [] if "Reference" in entry)
    pages += [{"Command line": COMMAND_LINE}, {"Packages": [{name: _page(name)} for name in packages()]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Make the generated pages."""
    for name, purpose in packages().items():
        files.append(File.generated(config, _page(name), content=package_text(name, purpose)))
    files.append(File.generated(config, COMMAND_LINE, content=command_line_text()))
    return files


def packages() -> dict[str, str]:
    """Return the packages of the library in the order of the data, each with what it is for."""
    text = ast.get_docstring(ast.parse((LIBRARY / "__init__.py").read_text(encoding="utf-8"))) or ""
    found = dict(re.findall(r"^ {4}(\w+) {1,}(\S.*)$", text, re.MULTILINE))
    return {name: purpose for name, purpose in found.items()
            if (LIBRARY / name).is_dir() or (LIBRARY / f"{name}.py").is_file()}


def package_text(name: str, purpose: str) -> str:
    """Return the page of a package: all of its modules, in alphabetical order."""
    folder, package = LIBRARY / name, f"{LIBRARY.name}.{name}"
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    whole = [f"{package}.{module}" for module in modules] if folder.is_dir() else [package]
    blocks = [f"## {module.rpartition('.')[2]} {{ #{module} }}\n\n"
              f"::: {module}\n    options:\n      show_root_heading: false\n" for module in whole]
    return f"# {name}\n\n{purpose[0].upper()}{purpose[1:]}.\n\n" + "\n".join(blocks)


def command_line_text() -> str:
    """Return the page of the command line: the help of each command as it is printed."""
    os.environ["COLUMNS"] = "100"
    sys.path.insert(0, str(ROOT))
    try:
        from TriplaneGaussianReconLib.command_line.arguments import build_parser
    finally:
        sys.path.remove(str(ROOT))
    parser = build_parser()
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices
    blocks = [f"## {name}\n\n```text\n{one.format_help()}```\n" for name, one in commands.items()]
    return ("# Command line\n\n`triplane-gaussian-recon` and `python -m TriplaneGaussianReconLib` are the same "
            f"program. What follows is what `--help` prints.\n\n```text\n{parser.format_help()}```\n\n"
            + "\n".join(blocks))


def _page(name: str) -> str:
    return f"reference/packages/{name}.md"
