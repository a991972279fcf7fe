"""A small index of Python packages on this computer, and an environment to install them into: for the real pip.

Nothing leaves the computer.  The packages have a module in which there is nothing, and `BIG` has a file besides, which
takes long enough to come for pip to tell how far it is.
"""
from __future__ import annotations

import hashlib
import os
import threading
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pip

BIG, BIG_BYTES = "scipy", 3_000_000
# As light-the-torch does: pip, which leaves a mark.
_LIGHT_THE_TORCH = """import pathlib, sys
from pip._internal.cli.main import main
pathlib.Path(sys.prefix, "light_the_torch was here").touch()
sys.exit(main())
"""
TORCH = {"torch/__init__.py": "", "torch/version.py": "cuda: 'str | None' = None\n"}
MODULES = {"opencv-python-headless": "cv2", "pynrrd": "nrrd"}  # where its name is another one than the package's
PACKAGES: dict[tuple[str, str], dict[str, str]] = {
    ("torch", "2.12.1"): TORCH, ("torch", "2.14.0"): TORCH,
    **{(name, version): {f"{MODULES.get(name, name)}/__init__.py": "# it works\n"} for name, version in (
        (BIG, "1.16"), ("opencv-python-headless", "4.12"), ("psutil", "7.0"), ("nibabel", "5.3"), ("pynrrd", "1.1"),
        ("safetensors", "0.5"), ("numba", "0.66"), ("numpy", "2.2.1"), ("numpy", "2.9"), ("torchvision", "0.29"))},
    ("light-the-torch", "0.8.1"): {"light_the_torch/__main__.py": _LIGHT_THE_TORCH}}
NEEDS = {BIG: "numpy<3", "torchvision": "torch==2.14.0"}


class Index(ThreadingHTTPServer):
    """Serves a folder in the way of PyPI.  While `held` is set, the big package comes half and no further."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.folder, self.asked, self.goes_on = folder, list[str](), threading.Event()
        self.goes_on.set()

    @property
    def url(self) -> str:
        """Where pip finds it."""
        return f"http://127.0.0.1:{self.server_port}/simple"

    def asked_for(self, name: str) -> int:
        """How many times the file of a package was asked for."""
        return sum(path.endswith(".whl") and f"/{name.replace('-', '_')}-" in path for path in self.asked)


class _Handler(SimpleHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        path = Path(self.translate_path(self.path))
        if self.server.goes_on.is_set() or not (path.name.startswith(f"{BIG}-") and path.suffix == ".whl"):
            super().do_GET()
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:len(content) // 2])
        self.wfile.flush()
        self.server.goes_on.wait(60.0)

    def log_message(self, *said: object) -> None:
        """Say nothing."""


@contextmanager
def opened_index(folder: Path) -> Iterator[Index]:
    """An index of `PACKAGES` in a folder."""
    for (name, version), files in PACKAGES.items():
        add_package(folder, name, version, files)
    with Index(folder) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()  # seconds until it can end
        yield server
        server.goes_on.set()
        server.shutdown()


def add_package(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    """Add a wheel to an index."""
    stem = f"{name.replace('-', '_')}-{version}"
    place = folder / "simple" / name
    place.mkdir(parents=True, exist_ok=True)
    needs = f"Requires-Dist: {NEEDS[name]}\n" if name in NEEDS else ""
    contents = {f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
                f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", **files}
    contents[f"{stem}.dist-info/RECORD"] = "".join(f"{each},,\n" for each in (*contents, f"{stem}.dist-info/RECORD"))
    wheel = place / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
        if name == BIG:
            archive.writestr(f"{name}_data.bin", os.urandom(BIG_BYTES))
    checksum = hashlib.sha256(wheel.read_bytes()).hexdigest()
    page = place / "index.html"
    links = page.read_text() if page.exists() else ""
    metadata = contents[f"{stem}.dist-info/METADATA"]
    wheel.with_name(f"{wheel.name}.metadata").write_text(metadata)
    page.write_text(f'{links}<a href="{wheel.name}#sha256={checksum}" '
                    f'data-core-metadata="sha256={hashlib.sha256(metadata.encode()).hexdigest()}">{wheel.name}</a><br>\n')


def new_environment(folder: Path) -> tuple[Path, Path]:
    """Make an environment that has this environment's pip and nothing else; return its Python, and its packages."""
    venv.EnvBuilder(symlinks=True).create(folder)
    site, = folder.glob("lib/python3.*/site-packages")
    here = Path(pip.__file__).parent
    (site / "pip").symlink_to(here)
    for info in here.parent.glob("pip-*.dist-info"):
        (site / info.name).symlink_to(info)
    return folder / "bin" / "python", site
