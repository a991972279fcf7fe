"""The page of a cohort, in a real browser."""
from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import browser
import numpy as np
import pytest
from PIL import Image as Picture

from TriplaneGaussianReconLib.cohort.page import write_page
from TriplaneGaussianReconLib.cohort.records import Record
from TriplaneGaussianReconLib.cohort.status import Row
from TriplaneGaussianReconLib.cohort.thumbnails import SIDE, write_thumbnails
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.io.writers import write_image

needs_browser = pytest.mark.skipif(browser.program() is None, reason="needs Chromium or Chrome")


def done(name: str, check: float | None) -> Row:
    return Row.ended(name, Record((), results={f"cases/{name}/volume.nii.gz": 1}, seconds=3.0, self_check=check))


ROWS = [done("good", 41.0), Row("later", "waiting"), done("poor", 12.5), done("unknown", None),
        Row.ended("</script><b>bad", Record((), cause="It is <i>broken</i> & empty.")), done("fair", 25.0)]


def names(folder: Path, chosen: str = "") -> list[str]:
    """The cases that the page of `folder` shows, in their order."""
    text = browser.content(f"{(folder / 'index.html').as_uri()}#{chosen}")
    return [unescape(name) for name in re.findall(r'<tr data-name="([^"]*)"', text)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_page(tmp_path, ROWS)
    return tmp_path


@needs_browser
def test_the_worst_comes_first_and_text_stays_text(folder: Path) -> None:
    assert names(folder) == ["</script><b>bad", "poor", "fair", "good", "unknown", "later"]
    text = browser.content((folder / "index.html").as_uri())
    assert "It is &lt;i&gt;broken&lt;/i&gt; &amp; empty." in text and "1 failed, 4 done, 1 waiting" in text
    assert 'src="cases/poor/before.jpg"' in text and 'href="cases/good/volume.nii.gz"' in text


@needs_browser
@pytest.mark.parametrize(("chosen", "shown"), [
    ("state=failed", ["</script><b>bad"]), ("below=30", ["poor", "fair"]), ("text=OO", ["poor", "good"]),
    ("text=broken", ["</script><b>bad"]), ("state=done&sort=-check", ["good", "fair", "poor", "unknown"])])
def test_cases_are_filtered_and_sorted(folder: Path, chosen: str, shown: list[str]) -> None:
    assert names(folder, chosen) == shown


def test_nothing_comes_from_a_network(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", text)


@needs_browser
def test_a_thousand_cases_are_shown(tmp_path: Path) -> None:
    write_page(tmp_path, [done(f"case{n:04}", 20 + n / 100) for n in range(1000)])
    assert names(tmp_path) == [f"case{n:04}" for n in range(1000)]
    assert (tmp_path / "index.html").stat().st_size < 10 ** 6
    assert 2 <= browser.content((tmp_path / "index.html").as_uri()).count(' src="cases/') < 100  # those that are near


def test_pictures_are_small_and_show_the_same_plane(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dense = Image(rng.integers(0, 1000, (120, 200, 180)).astype(np.int16), Grid((120, 200, 180), spacing=(1, 1, 1)))
    thick = Image(dense.array[::4], Grid((30, 200, 180), spacing=(1, 1, 4)))
    for name, image in (("thick", thick), ("dense", dense)):
        write_image(tmp_path / f"{name}.nrrd", image)
    pictures = [tmp_path / "before.jpg", tmp_path / "after.jpg"]
    write_thumbnails(tmp_path / "thick.nrrd", tmp_path / "dense.nrrd", *pictures)
    for path in pictures:
        assert path.stat().st_size < 10_000  # noise, which packs worst
        with Picture.open(path) as picture:
            assert max(picture.size) == SIDE


def test_a_volume_without_data_has_black_pictures(tmp_path: Path) -> None:
    write_image(tmp_path / "a.npz", Image(np.full((3, 8, 8), np.nan, np.float32), Grid((3, 8, 8))))
    write_thumbnails(tmp_path / "a.npz", tmp_path / "a.npz", tmp_path / "b.jpg", tmp_path / "c.jpg")
    with Picture.open(tmp_path / "b.jpg") as picture:
        assert not np.asarray(picture).any()
