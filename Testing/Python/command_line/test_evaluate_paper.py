"""`evaluate FOLDER --paper-table`."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from TriplaneGaussianReconLib.command_line.evaluate_paper import one_axis_table
from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.evaluation.paper_table import PaperRow


@pytest.fixture
def folder(tmp_path: Path, textured: Callable[..., np.ndarray]) -> Path:
    voxels = textured((21, 22, 23))
    place: dict[str, Any] = {"origin": np.zeros(3), "spacing": np.ones(3), "direction": np.eye(3)}
    (tmp_path / "scans").mkdir()
    np.savez(tmp_path / "scans" / "a.npz", array=voxels, **place)
    np.savez(tmp_path / "scans" / "a_seg.npz", array=(voxels > 0.5).astype(np.uint8), **place)
    return tmp_path / "scans"


@pytest.mark.slow
def test_both_tables_are_printed_beside_the_published_figures(folder: Path, monkeypatch: pytest.MonkeyPatch,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    paper = PRESETS["paper"]
    monkeypatch.setitem(PRESETS, "paper", replace(paper, blind=replace(paper.blind, size=8)))
    out = folder.parent / "t.json"
    assert main(["evaluate", str(folder), "--paper-table", "--methods", "linear,paper", "--steps", "2", "--device",
                 "cpu", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "theirs, published" in printed and "37.61" in printed and "theirs, heart, published" in printed
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["scans"] == ["a"]
    rows = {(row["given"], row["method"]): row for row in found["one_axis"]}
    assert set(rows) == {(share, name) for share in (25.0, 50.0, 95.0) for name in ("linear", "paper")}
    assert all(len(row["scores"]["psnr"]) == 1 and not row["failures"] for row in rows.values())
    more, fewer = (np.mean(rows[share, "linear"]["scores"]["psnr"]) for share in (50.0, 25.0))
    assert more > fewer + 1
    assert [row["given"] for row in found["three_axes"]] == ["i", "j", "k"]
    assert all(len(row["scores"]["semantic_loss"]) == 1 for row in found["three_axes"])


def test_a_row_tells_the_mean_of_its_scans_and_how_they_differ() -> None:
    row = PaperRow(25.0, "linear")
    for psnr in (20.0, 24.0):
        row.add({"ssim": 0.5, "psnr": psnr})
    table = one_axis_table([row])
    printed = [list(column.cells)[2] for column in table.columns]
    assert printed == ["25 %", "linear", "0.5000 ± 0.0000", "22.00 ± 2.00", ""]


@pytest.mark.parametrize(("options", "message"), [
    (["--figure", "f.png"], "--figure does not go with --paper-table"),
    (["--methods", "magic"], "Unknown method 'magic'. Choose from nearest, linear, .*, paper, .*innergs-style"),
    (["--methods", "fast", "--steps", "3"], "'fast' trains no Gaussians"),
    (["--lpips-weights", "none.safetensors"], "no safetensors file")])
def test_what_cannot_be_done_is_told(folder: Path, capsys: pytest.CaptureFixture[str], options: list[str],
                                     message: str) -> None:
    import re

    assert main(["evaluate", str(folder), "--paper-table", "--device", "cpu", *options]) == 2
    assert re.search(message, capsys.readouterr().err.replace("\n", " "))


def test_a_folder_without_volumes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path), "--paper-table", "--device", "cpu"]) == 2
    assert "There is no volume in" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "none"), "--paper-table", "--device", "cpu"]) == 2
    assert "is no folder" in capsys.readouterr().err
