"""The benchmark of quality: which cases it knows, what it runs again, and the figures of its tables."""
from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from repository import ROOT

BENCHMARKS = str(ROOT / "Testing" / "Benchmarks")


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import quality

    return quality


def row(name: str, psnr: float | None = None, ssim: float = 0.9, dice: float | None = None, **more: Any) -> dict:
    """A row of the JSON of `evaluate`."""
    image = {"psnr": psnr, "ssim": ssim} if psnr is not None else None
    segments = [{"name": "a", "dice": dice}, {"name": "b", "dice": None}] if dice is not None else []
    return {"name": name, "image": image, "dice": dice, "segments": segments, "seconds": 2.0,
            "peak_memory_bytes": 3_000_000, "failure": None, **more}


def rows(quality: ModuleType, ours: float, *, dice: float | None = None, flow: float = 26.0, **more: Any) -> dict:
    """A case whose best baselines reach a PSNR of `flow`, an SSIM of 0.9 and a Dice of 0.8."""
    image = [row(name, flow if name == "flow" else 25.0) for name in quality.CLASSICAL]
    labels = [row(name, dice=0.8 - 0.1 * n) for n, name in enumerate(quality.LABELS)] if dice is not None else []
    return {one["name"]: one for one in [*image, *labels, row("fast", ours, 0.95, dice, **more)]}


@pytest.mark.parametrize(("text", "file", "slices", "group"), [
    ("ct:4", "ct_4", "k=4", "k=4 and k=2"), ("ct:2", "ct_2", "k=2", "k=4 and k=2"), ("ct:8", "ct_8", "k=8", "k=8"),
    ("ct:hide20", "ct_hide20", "every 20th hidden", "every 20th hidden"), ("t1@160:3", "t1@160_3", "k=3", "k=3")])
def test_cases_are_read(quality: ModuleType, text: str, file: str, slices: str, group: str) -> None:
    case = quality.Case.parse(text)
    assert (case.file, case.slices, case.group, case.has_peers) == (file, slices, group, slices == "k=3")


@pytest.mark.parametrize("text", ["ct", "ct:", "ct:x", "ct:4:2", "ct@:4", ":4"])
def test_what_is_no_case_is_refused(quality: ModuleType, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no case such as"):
        quality.Case.parse(text)


def test_figures_of_a_case_by_hand(quality: ModuleType) -> None:
    score = quality.Score.of(rows(quality, 26.5, dice=0.85, share_in_band_68=0.7, rank_correlation=0.45), "fast")
    assert (score.gain, score.ssim_gain, score.dice_gain, score.ratio) == pytest.approx((0.5, 0.05, 0.05, 0.75))
    assert (score.band, score.correlation, score.seconds, score.megabytes) == (0.7, 0.45, 2.0, 3.0)
    without = quality.Score.of(rows(quality, 26.5), "fast")
    assert without.dice is without.ratio is without.dice_gain is without.band is None


def test_summary_by_hand(quality: ModuleType) -> None:
    cases = {quality.Case.parse("a:4"): rows(quality, 26.5, dice=0.85, share_in_band_68=0.7, rank_correlation=0.5),
             quality.Case.parse("b:2"): rows(quality, 25.9, dice=0.79, share_in_band_68=0.6, rank_correlation=0.4),
             quality.Case.parse("b:8"): rows(quality, 26.0)}
    lines = [line.strip("| ").split(" | ") for line in quality.summary(cases, ["fast"]).splitlines()]
    assert lines[2] == ["k=4 and k=2, fast", "2", "+0.20", "50%", "-0.10", "+0.0500", "0.900", "-0.0100", "65%", "0.45",
                        "2.0"]
    assert lines[3][:6] == ["k=8, fast", "1", "+0.00", "0%", "+0.00", "+0.0500"]
    assert len({line.count("|") for line in quality.summary(cases, ["fast"]).splitlines()}) == 1


def test_tables_show_labels_and_peers_only_where_they_are(quality: ModuleType) -> None:
    plain, third = quality.Case.parse("a:4"), quality.Case.parse("a:3")
    text = quality.markdown({plain: rows(quality, 26.5)}, ["fast"], ["eclare"])
    assert "| a, k=4 | 25.00 | 26.00 | 26.50 (+0.50) |" in text
    assert "Dice (" not in text and "peers" not in text
    compared = {**rows(quality, 26.5, dice=0.85), "eclare": row("eclare", 24.0)}
    text = quality.markdown({plain: rows(quality, 26.5), third: compared}, ["fast"], ["eclare"])
    assert "| a, k=3 | 1 | 0.8000 | 0.8500 (0.750) |" in text
    assert "| a, k=3 | 26.50, 0.9500, 2.0 | 24.00, 0.9000, 2.0 |" in text


@pytest.fixture
def calls(quality: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The calls of the command line, in whose place every method reaches 25 dB, eclare fails, and figures appear."""
    made: list[list[str]] = []

    def call(command: list[str], **_: object) -> None:
        made.append(command)
        given = dict(zip(command[5::2], command[6::2], strict=True))
        report = [row(name, 25.0, failure="no GPU" if name == "eclare" else None)
                  for name in given["--methods"].split(",")]
        Path(given["--json"]).write_text(json.dumps({"rows": report}), encoding="utf-8")
        if "--figure" in given:
            Path(given["--figure"]).touch()

    monkeypatch.setattr(quality.subprocess, "run", call)
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "a.npz", array=np.random.default_rng(0).random((9, 8, 7)), origin=np.zeros(3),
             spacing=np.ones(3), direction=np.eye(3))
    monkeypatch.chdir(tmp_path)
    return made


def test_only_what_is_missing_is_run(quality: ModuleType, calls: list[list[str]], tmp_path: Path) -> None:
    def run(*more: str) -> list[str]:
        """The methods of the one call that it takes."""
        del calls[:]
        quality.main(["data", "--work", "work", "--cases", "a:3", *more])
        assert len(calls) <= 1
        return calls[0][calls[0].index("--methods") + 1].split(",") if calls else []

    assert run("--ours", "fast") == [*quality.CLASSICAL, "fast"]
    assert run("--ours", "fast") == []
    assert run("--ours", "fast,paper", "--peers", "eclare", "--device", "cuda:1", "--eclare-python", "py") == [
        "paper", "eclare"]
    assert calls[0][-4:] == ["--device", "cuda:1", "--eclare-python", "py"]
    assert run("--ours", "fast,paper", "--peers", "eclare") == ["eclare"]  # it failed
    assert run("--ours", "fast", "--figures", "figures") == [*quality.CLASSICAL, "fast"]
    assert run("--ours", "fast", "--figures", "figures", "--table", "table.md") == []
    saved = json.loads((tmp_path / "work" / "a_3.json").read_text(encoding="utf-8"))
    assert {one["name"] for one in saved["rows"]} == {*quality.CLASSICAL, "fast", "paper", "eclare"}
    assert (tmp_path / "figures" / "a_3.png").exists()
    assert "| a, k=3 |" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_what_is_there_survives_a_run_that_fails(quality: ModuleType, calls: list[list[str]],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    quality.main(["data", "--work", "work", "--cases", "a:2", "--ours", "fast"])
    saved = Path("work/a_2.json").read_text(encoding="utf-8")
    monkeypatch.setattr(quality.subprocess, "run", lambda *_, **__: None)
    quality.main(["data", "--work", "work", "--cases", "a:2", "--ours", "fast", "--figures", "figures"])
    assert Path("work/a_2.json").read_text(encoding="utf-8") == saved
    failing = {"rows": [row("fast", failure="no memory"), row("best", failure="no memory")]}
    both = quality.merged(json.loads(saved), failing)["rows"]
    assert [one["name"] for one in both if one["failure"]] == ["best"]


def test_a_central_cube_is_cut_out(quality: ModuleType, calls: list[list[str]]) -> None:
    quality.main(["data", "--work", "work", "--cases", "a@4:hide3", "--ours", "fast"])
    with np.load("work/a@4.npz") as cube:
        assert cube["array"].shape == (4, 4, 4)
        assert cube["origin"].tolist() == [1, 2, 2]
    assert calls[0][4:8] == [str(Path("work/a@4.npz")), "--axis", "k", "--hide-every"]


def test_what_is_lacking_is_named(quality: ModuleType, calls: list[list[str]],
                                  capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"has neither \.nii\.gz nor \.npz of b, c"):
        quality.main(["data", "--work", "work", "--cases", "a:2", "c:2", "b:2"])
    assert not calls
    with pytest.raises(SystemExit, match="Left out, since a method failed: a_2"):
        quality.main(["data", "--work", "work", "--cases", "a:2", "--ours", "eclare"])
    assert "a k=2: eclare failed: no GPU" in capsys.readouterr().err


@pytest.mark.slow
def test_one_command_makes_table_and_figures(quality: ModuleType, tmp_path: Path, textured: Any,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    shape = (13, 30, 34)
    truth = textured(shape)
    for name, array in (("a", truth), ("a_seg", (truth > 0.6).astype(np.uint8))):
        np.savez(tmp_path / f"{name}.npz", array=array, origin=np.zeros(3), spacing=np.ones(3), direction=np.eye(3))
    quality.main([str(tmp_path), "--work", str(tmp_path / "work"), "--figures", str(tmp_path / "figures"), "--ours",
                  "paper-displaced", "--cases", "a:hide5", "--device", "cpu"])  # the preset that trains no network
    printed = capsys.readouterr().out
    assert "| every 5th hidden, paper-displaced | 1 |" in printed
    assert "Dice (label error ratio" in printed
    assert [file.name for file in (tmp_path / "figures").iterdir()] == ["a_hide5.png"]
    assert json.loads((tmp_path / "work" / "a_hide5.json").read_text(encoding="utf-8"))["held_out"] == [4, 9]
