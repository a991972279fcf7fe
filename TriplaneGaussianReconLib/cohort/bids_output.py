"""What makes results a dataset of derivatives in BIDS: its description, a sidecar of each file, names of labels."""
from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..data.geometry import AXES
from ..io.atomic import whole_file, write_json
from ..io.readers import read_segmentation
from .bids import DESCRIPTION, Name
from .folder import CASES, Folder
from .limits import header_of
from .manifest import Case
from .page import PAGE
from .status import STATUS, Row

GROUP = "group_selfcheck.tsv"
_URL = "https://github.com/TriplaneGaussianRecon/SlicerTriplaneGaussianRecon"
_BIDS = "1.10.0"
_SOURCE, _LABELS = "raw", "labels"  # names of the datasets that URIs name
_README = """\
# Dense volumes

Made by TriplaneGaussianRecon from the slices of the source dataset. `desc-dense` are volumes and segmentations on all
slices, `desc-expectederror` the expected absolute error of each voxel, in units of the volume: the larger, the less it
can be trusted. What lies between the slices used is an estimate. `index.html` shows all cases, the worst self-check
first. Research software, not a medical device.
"""
_MEANING = {"volume": "Dense volume, reconstructed from the slices that were used.",
            "expected_error": "Expected absolute error of each voxel of the dense volume, in its units.",
            "labels": "Segmentation on all slices of the dense volume."}


def describe_dataset(output: Path, source: Path, labels: Path | None) -> None:
    """Write what a dataset of derivatives has at its top; raises OutputError."""
    links = {_SOURCE: source, **({_LABELS: labels} if labels is not None else {})}
    write_json(output / DESCRIPTION, {
        "Name": f"Dense volumes of {_name_of(source)}", "BIDSVersion": _BIDS, "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "TriplaneGaussianRecon", "Version": __version__, "CodeURL": _URL}],
        "SourceDatasets": [{"URL": path.resolve().as_uri()} for path in links.values()],
        "DatasetLinks": {name: path.resolve().as_uri() for name, path in links.items()}})
    for name, text in (("README.md", _README), (".bidsignore", "\n".join(
            [CASES, PAGE, STATUS, GROUP, ".lock*", ".triplane-*", ""]))):
        with whole_file(output / name) as part:
            part.write_text(text, encoding="utf-8")


def complete(output: Path, cases: Iterable[Case], rows: Mapping[str, Row], source: Path, labels: Path | None) -> None:
    """Write the sidecars of all cases that are done and have none of this run; raises OutputError."""
    for case in cases:
        folder = Folder(output, case)
        last = output / dict(case.results)["volume"].replace(".nii.gz", ".json")  # written last
        if rows[case.name].state == "done" and not (
                last.exists() and last.stat().st_mtime_ns >= folder.done.stat().st_mtime_ns):
            _describe_case(output, case, folder, source, labels)


def write_group(output: Path, cases: Sequence[Case], rows: Mapping[str, Row]) -> None:
    """Write a table of all participants with their self-checks, the worst first; raises OutputError."""
    lines = []
    for case in cases:
        record, name = rows[case.name].record, Name.parse(case.name)
        numbers = (None, None) if record is None else (record.self_check, record.gain)
        lines.append([f"sub-{name['sub']}", f"ses-{name['ses']}" if name["ses"] else "n/a", case.name,
                      rows[case.name].state, *("n/a" if number is None else str(number) for number in numbers)])
    lines.sort(key=lambda line: (line[4] == "n/a", float(line[4]) if line[4] != "n/a" else 0.0))
    _write_table(output / GROUP, ["participant_id", "session_id", "image", "state", "psnr_db", "gain_db"], lines)


def _describe_case(output: Path, case: Case, folder: Folder, source: Path, labels: Path | None) -> None:
    report = json.loads((output / folder.results["report"]).read_text(encoding="utf-8"))
    sources = [_uri(_SOURCE, case.volumes[0], source)]
    if case.labels and labels is not None:
        sources.append(_uri(_LABELS, case.labels, labels))
    common = {"Sources": sources, "SkullStripped": False, **_about_slices(case, report)}
    for kind, name in reversed(case.results):
        if not (output / name).is_file():  # labels of which nothing was on the slices that were used
            continue
        if kind == "labels":
            _write_label_names(output / name, case)
        place = {"SpatialReference": sources[0]} if kind == "labels" else {}
        write_json(output / name.replace(".nii.gz", ".json"), {"Description": _MEANING[kind], **place, **common})


def _about_slices(case: Case, report: Mapping[str, Any]) -> dict[str, Any]:
    """What was used of the source, and how well it went."""
    grid, axis = header_of(case.volumes[0]), report.get("axis", "")
    used = report.get("trusted", {}).get(axis, [])
    told: dict[str, Any] = {"SliceAxis": axis, "UsedSlices": used, "Preset": report["preset"], "Seed": report["seed"],
                            "SelfCheck": report["self_check"], "Notes": report["notes"]}
    if grid is not None and axis in AXES:
        thickness = case.option("thickness") or grid.spacing[AXES.index(axis)]
        told |= {"ThicknessUsed": round(float(thickness), 6),
                 "RejectedSlices": sorted({*range(grid.count(axis))} - {*used})}
    return told


def _write_label_names(path: Path, case: Case) -> None:
    """Write the table of a segmentation: index, name and colour of each label that it has."""
    segmentation = read_segmentation(path)
    names = _names_beside(Path(case.labels))
    rows = []
    for segment in segmentation.segments:
        index, color = str(segment.value), segment.color
        colour = "n/a" if color is None else "#" + "".join(f"{round(255 * part):02X}" for part in color)
        rows.append([index, *names.get(index, (segment.name, colour))])
    _write_table(Path(str(path).replace(".nii.gz", ".tsv")), ["index", "name", "color"], rows)


def _names_beside(labels: Path) -> dict[str, tuple[str, str]]:
    """Names and colours by index that a table beside the source's segmentation tells; nothing without."""
    table = labels.with_name(labels.name.removesuffix(".gz").removesuffix(".nii") + ".tsv")
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8", newline="") as file:
        return {row.get("index", ""): (row.get("name", ""), row.get("color") or "n/a")
                for row in csv.DictReader(file, delimiter="\t")}


def _write_table(path: Path, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([head, *rows])


def _uri(dataset: str, path: str, folder: Path) -> str:
    return f"bids:{dataset}:{Path(os.path.relpath(path, folder)).as_posix()}"


def _name_of(source: Path) -> str:
    try:
        return str(json.loads((source / DESCRIPTION).read_text(encoding="utf-8"))["Name"])
    except (OSError, ValueError, KeyError, TypeError):
        return source.resolve().name
