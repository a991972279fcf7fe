"""The program that trains the published model with one thing changed."""
from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from repository import ROOT


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "Testing" / "Benchmarks"))
    import ablation

    return ablation


def test_slices_are_used_or_scored_and_none_is_both(ablation: ModuleType) -> None:
    used, scored = ablation.kept(17, 4, False)
    assert used.tolist() == [0, 4, 8, 12, 16] and not set(used) & set(scored) and scored.max() < used.max()
    used, scored = ablation.kept(100, 0.95, False)
    assert len(scored) == 5 and used[0] == 0 and used[-1] == 99
    fewer, hidden = ablation.kept(65, 4, True)
    assert set(hidden) <= set(ablation.kept(65, 4, False)[0]) and not set(hidden) & set(fewer)


def test_variants_differ_from_what_they_are_called_after(ablation: ModuleType) -> None:
    known = ablation.variants()
    for name, preset in known.items():
        base = known[name.partition(":")[0]]
        assert (preset == base) == (":" not in name), name
    assert "field" not in known["paper: no field"].training.learning_rates
    assert set(known["paper: field alone"].training.learning_rates) == {"field"}


def test_trainings_go_on_where_they_stopped(ablation: ModuleType, tmp_path: Path, textured: Any,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", array=textured((13, 16, 16)), origin=np.zeros(3), spacing=np.ones(3),
             direction=np.eye(3))
    out = tmp_path / "runs.jsonl"

    def run(*more: str) -> list[dict[str, Any]]:
        ablation.main([str(tmp_path / "a.npz"), "--out", str(out), "--steps", "3", "--device", "cpu", "--keep-every",
                       "3", *more])
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    ours = ["--variants", "innergs-style"]
    first = run(*ours)
    assert len(first) == 1 and first[0]["curve"][-1][0] == 3 and not first[0]["choosing"]
    assert run(*ours) == first
    assert len(run(*ours, "--seeds", "0,1")) == 2 and len(run(*ours, "--choose-steps")) == 3
    ablation.main(["--table", str(out)])
    printed = capsys.readouterr().out
    assert "| kept: 3 | a | mean" in printed and "| innergs-style | " in printed and " ± " in printed


def test_the_table_compares_seed_by_seed(ablation: ModuleType) -> None:
    from ablation_table import outcomes, table

    def line(variant: str, seed: int, last: float, choosing: bool = False) -> dict[str, Any]:
        return {"volume": "v", "keep": 4.0, "variant": variant, "seed": seed, "steps": 20, "choosing": choosing,
                "curve": [[10, last + (1.0 if choosing else 0.5), 30.0], [20, last, 40.0]], "linear": 19.0,
                "seconds": 2.0}

    runs = [line("paper", 0, 20.0), line("paper", 1, 22.0), line("paper: no field", 0, 19.0),
            line("paper: no field", 1, 21.0), line("paper", 0, 20.0, choosing=True)]
    rows = table(4.0, outcomes(runs)[4.0]).splitlines()
    assert rows[3] == "| paper | 21.00 ± 1.41 | 21.00 |  | 21.50 | 2 |"
    assert rows[4] == "| paper: no field | 20.00 ± 1.41 | 20.00 | -1.00 ± 0.00 |  | 2 |"
