"""Environments of Python in which a stand-in takes the place of a package that is used as a program."""
from __future__ import annotations

import os
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path


def environment_with(home: Path, modules: Mapping[str, str], gpu: bool) -> str:
    """Make an environment.

    Args:
        home: Its folder.
        modules: Source by name, such as `package.module`; `torch` is a stand-in too.
        gpu: Whether that torch says that there is a GPU.

    Returns:
        The path of its Python, which also finds the packages of this one.
    """
    venv.create(home, symlinks=os.name != "nt")
    library = "Lib" if os.name == "nt" else f"lib/python3.{sys.version_info.minor}"
    folder = home / library / "site-packages"
    (folder / "torch.py").write_text(f"class cuda:\n    is_available = staticmethod(lambda: {gpu})\n")
    for name, source in modules.items():
        path = folder.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    ours = "\n".join(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (folder / "ours.pth").write_text(ours, encoding="utf-8")
    return str(home / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
