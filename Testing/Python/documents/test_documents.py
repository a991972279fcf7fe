"""The documents: short where they promise it, without dead links, and built without a warning."""
from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from repository import ROOT, SAMPLES

import TriplaneGaussianReconLib

REPOSITORY = "https://github.com/TriplaneGaussianRecon/SlicerTriplaneGaussianRecon"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", SAMPLES / "SOURCES.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECIPES = ("A compositing mode", "A file format", "A preset", "The loss of the label network", "A metric",
           "A column in the panel's table of slices", "Several volumes, each on its own grid",
           "Many cases on a cluster", "Another optical flow", "The text of the progress bar")


def links(page: Path) -> Iterator[str]:
    """The targets of links and pictures of a page, code left out."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)


def local_file(page: Path, target: str) -> Path | None:
    """The file of this repository that a link leads to; None for the rest of the web."""
    for kind in ("blob", "tree"):
        if target.startswith(f"{REPOSITORY}/{kind}/main/"):
            return ROOT / unquote(target.split("/main/", 1)[1]).partition("#")[0]
    if re.match(r"[a-z]+:", target):
        return None
    return page.parent / unquote(target.partition("#")[0])


def is_generated(file: Path) -> bool:
    """Whether a page of the reference is made when the documents are built."""
    path = file.resolve().relative_to(ROOT).as_posix()
    return path.startswith("docs/reference/packages/") or path == "docs/reference/command_line.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_that_exist(page: Path) -> None:
    files = {target: local_file(page, target) for target in links(page) if not target.startswith("#")}
    assert not [target for target, file in files.items() if file and not (file.exists() or is_generated(file))]


def test_the_readme_can_be_read_at_one_go() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 110
    assert "trusted" not in text.replace("--trust", "")  # the panel's former word for slices to use


def test_pictures_are_small() -> None:
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < 400_000, picture.name


def test_figures_of_the_readme_stand_in_the_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    results = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "results").glob("*.md"))
    for figure in re.findall(r"[+-]\d\.\d\d", readme):
        assert figure in results, figure


def test_files_that_documents_name_exist() -> None:
    folders = (ROOT, ROOT / "TriplaneGaussianReconLib", ROOT / "TriplaneGaussianRecon" / "TriplaneGaussianReconModule")
    for page in (ROOT / "CONTRIBUTING.md", *(ROOT / "docs" / "concepts").glob("*.md")):
        for name in re.findall(r"`([\w./-]+/[\w-]+\.(?:py|md|sh|yml))`", page.read_text(encoding="utf-8")):
            assert any((folder / name).is_file() for folder in folders), f"{page.name}: {name}"


def test_contributing_has_a_recipe_for_each_common_change() -> None:
    headings = re.findall(r"^### (.+)$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(RECIPES) <= set(headings)


def test_the_citation_is_valid_and_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format demands
    assert citation["version"] == TriplaneGaussianReconLib.__version__
    assert citation["repository-code"] == REPOSITORY
    assert citation["license"] == "Apache-2.0"


def test_the_workflow_runs_folders_that_exist_and_both_ends_of_the_supported_pythons() -> None:
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    assert jobs["linux"]["strategy"]["matrix"]["python"] == ["3.10", "3.12"]
    folders = re.findall(r"Testing/Python/\w+", text)
    assert folders and all((ROOT / folder).is_dir() for folder in folders)


def test_every_package_is_on_the_architecture_page_and_in_the_map() -> None:
    page = (ROOT / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")
    library = ROOT / "TriplaneGaussianReconLib"
    packages = {path.parent.name for path in library.glob("*/__init__.py")}
    assert not {name for name in packages if f"`{name}`" not in page}
    assert not {name for name in packages if f"    {name} " not in (TriplaneGaussianReconLib.__doc__ or "")}


def test_sample_data_have_a_source_and_their_checksums() -> None:
    sources = (SAMPLES / "SOURCES.md").read_text(encoding="utf-8")
    for file in SAMPLES.glob("*_*.n*"):
        assert f"| `{file.name}` |" in sources
        assert f"{sha256(file.read_bytes()).hexdigest()}  {file.name}" in sources
        assert file.stat().st_size < 1_000_000


def test_the_documents_are_built_without_a_warning(tmp_path: Path) -> None:
    # Not --quiet, which drops the warnings before --strict counts them.
    built = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
                           cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    command_line = (tmp_path / "reference" / "command_line" / "index.html").read_text(encoding="utf-8")
    assert "--keep-every" in command_line
    assert "Observations" in (tmp_path / "reference" / "packages" / "data" / "index.html").read_text(encoding="utf-8")


def test_every_test_that_the_table_of_files_names_exists() -> None:
    page = (ROOT / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
    tests = re.findall(r"\[(\w+)\]\(https://\S+?/blob/main/(\S+?)\)", page)
    assert len(tests) > 30
    assert not [path for name, path in tests if Path(path).stem != name or not (ROOT / path).is_file()]
