"""What is told of results: the table of slices, and how they were made."""
from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from result_case import boxes, ramp
from stand_in_worker import reportOf
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
from TriplaneGaussianReconModule.scene.nodes import gridOf, imageOf
from TriplaneGaussianReconModule.scene.report import FrameRecord, RunRecord, shown, unitsOf

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.pipeline.error_report import ErrorReport


def hidden(table: Any) -> list[str]:
    """What the table shows of slices that were hidden."""
    column = table.GetTable().GetColumnByName("PSNR when hidden")
    return [column.GetValue(n) for n in range(column.GetNumberOfValues())]


def test_a_table_is_short_to_read() -> None:
    nan = float("nan")
    told = shown({"Frame": np.array([0, 0]), "Slice": np.array([0.0, 2 / 3]), "Position": np.array([0.0, 3.33333333]),
                  "PSNR when hidden": np.array([nan, 31.2345]), "Expected error": np.array([1234.5678, 0.0123456]),
                  "Labels in doubt": np.array([12.3456, 0.0])})
    assert {name: values.tolist() for name, values in told.items()} == {
        "Frame": [0, 0], "Slice": [0.0, 0.667], "Position": [0.0, 3.333], "PSNR when hidden": ["", "31.2"],
        "Expected error": [1230.0, 0.0123], "Labels in doubt": [12.3, 0.0]}


@pytest.mark.parametrize(("told", "unit", "factor"), [
    (ErrorReport(50.0, 0.02), "% of the range", 0.04), (ErrorReport(30.0, 0.02, "HU"), "HU", 1.0),
    (ErrorReport(0.0, 0.0), "units of the volume", 1.0), (None, "units of the volume", 1.0)])
def test_expected_errors_are_in_the_unit_that_is_told_of_all(told: ErrorReport | None, unit: str, factor: float
                                                             ) -> None:
    report = replace(reportOf("fast", 0, "k", [0, 4, 8], Grid((9, 8, 8))), expected_error=told)
    record = RunRecord("scan", None, {}, frames=[FrameRecord(report, report.scope, (1.0, 1.0, 1.0), ())])
    units, found = unitsOf(record)
    assert units["Expected error"] == unit and found == pytest.approx(factor)


def test_table_tells_of_every_slice(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    table = logic.reconstruct(mrml.add_volume(ramp()), trustedSlices="0,3,4,8").scores
    names = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
    assert names == ["Slice", "Position", "Used", "PSNR when hidden", "Expected error"]
    column = {name: slicer.util.arrayFromTableColumn(table, name) for name in names if name != "PSNR when hidden"}
    assert column["Slice"].tolist() == list(range(9)) and np.allclose(column["Position"], 3.0 * np.arange(9))
    assert np.flatnonzero(column["Used"]).tolist() == [0, 3, 4, 8]
    assert [bool(text) for text in hidden(table)] == [n in (3, 4) for n in range(9)]
    assert column["Expected error"][[0, 3, 4, 8]].tolist() == [0, 0, 0, 0] and column["Expected error"][6] == 5.0
    assert table.GetColumnUnitLabel("PSNR when hidden") == "dB"
    assert "empty for all others" in table.GetColumnDescription("PSNR when hidden")


@pytest.mark.parametrize(("flip", "expected"), [(1.0, [21.0, 22.0, 23.0]), (-1.0, [23.0, 22.0, 21.0])])
def test_hidden_slices_are_named_by_their_number_in_the_input(scene: Any, logic: TriplaneGaussianReconLogic,
                                                              flip: float, expected: list[float]) -> None:
    """The library numbers observed slices along their normal, which in a left-handed volume is against the input."""
    volume = mrml.add_volume(ramp(), mrml.ijk_to_ras(directions=mrml.rotation() @ np.diag([1.0, 1.0, flip])))
    observed = Selection((0, 2, 4, 6, 8), 9)
    origins = Observations.from_volume(imageOf(volume), {"k": observed}).stacks[0].planes.origins
    slices = np.round(gridOf(volume).physical_to_index(origins)[:, 2]).astype(int).tolist()
    assert [20.0 + slices.index(number) for number in (2, 4, 6)] == expected
    table = logic.reconstruct(volume, trustedSlices="0,2,4,6,8").scores
    assert [float(hidden(table)[n]) for n in (2, 4, 6)] == expected


def test_table_has_observed_slices_that_lie_between_those_of_the_result(scene: Any,
                                                                       logic: TriplaneGaussianReconLogic) -> None:
    table = logic.reconstruct(mrml.add_volume(ramp()), trustedSlices="0,3,8", outputSpacing=2.0).scores
    slices = slicer.util.arrayFromTableColumn(table, "Slice")
    assert slices.tolist() == sorted({*np.round(np.arange(13) * 2 / 3, 3), 3.0, 8.0})
    assert [n for n, text in enumerate(hidden(table)) if text] == [slices.tolist().index(3.0)]


def test_provenance_is_for_people_and_programs(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(ramp(), name="頭部")
    text = logic.reconstruct(volume, mrml.add_segmentation(volume, boxes()), trustedSlices="every:4", seed=3,
                             excludedSlices="0").provenance.GetText()
    for line in ("'頭部' reconstructed by TriplaneGaussianRecon", "Expected error: 1.11 on average",
                 "Research software, not a medical device. Not for diagnosis or treatment.", f"{date.today():%Y-}",
                 "Segmentation: Органы", "Segments filled in: 肝臓 é liver, 肝臓 é vessel", "Excluded slices: 0",
                 "Segments left out, being on no slice that is used: none",
                 "1.7 dB better than linear between slices", "the best usual method (cubic); PSNR 20.0 dB.",
                 "Spacing of the input: 0.7 x 0.9 x 3 mm",
                 "Slices used along k: 4, 8", "Preset: fast", "Seed: 3", "Device: CPU",
                 "Voxels of the result: 16 x 14 x 9, 0.7 x 0.9 x 3 mm"):
        assert line in text
    told = json.loads("{" + text.partition("\n\n{")[2])
    assert len(text.partition("\n\n{")[2].splitlines()) == len(told) and told["made"] in text.splitlines()[0]
    assert told["choices"]["excluded"] == "0" and told["reports"][0]["trusted"] == {"k": [4, 8]}


def test_the_table_counts_from_the_first_slice_of_the_input(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    """Although a finer result begins at the first slice that is used."""
    volume = mrml.add_volume(np.arange(9 * 6 * 7, dtype=np.int16).reshape(9, 6, 7), mrml.ijk_to_ras((1.0, 1.0, 3.0)))
    results = logic.reconstruct(volume, trustedSlices="2-8", outputSpacing=1.5)
    slices = slicer.util.arrayFromTableColumn(results.scores, "Slice")
    np.testing.assert_allclose(slices, np.arange(2.0, 8.5, 0.5), atol=1e-6)
