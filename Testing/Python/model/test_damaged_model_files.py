"""Whatever is wrong with a model file is noticed before it is drawn, and the message is about the file."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from TriplaneGaussianReconLib.errors import InputError, TooLargeError
from TriplaneGaussianReconLib.model import tensor_file
from TriplaneGaussianReconLib.model.model_file import load_model, save_model

FORMER = Path(__file__).with_name("former_model.safetensors")  # without checksums
Change = Callable[[dict[str, Any]], object]


def use(path: Path) -> None:
    """Read everything."""
    assert load_model(path).parameters.centres.isfinite().all()


def refused(path: Path) -> None:
    with pytest.raises(InputError) as caught:
        use(path)
    told = str(caught.value)
    assert str(path) in told and "model" in told and "--preset" not in told and "\n" not in told and len(told) < 500


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """As it is written now, with checksums."""
    save_model(tmp_path / "new.safetensors", load_model(FORMER))
    return tmp_path / "new.safetensors"


def rewritten(folder: Path, change: Change = lambda description: None,
              change_tensors: Callable[[dict[str, torch.Tensor]], object] = lambda tensors: None) -> Path:
    """The former file with something changed, so that no checksum tells."""
    with safe_open(FORMER, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        description = json.loads(file.metadata()["model"])
    change(description)
    change_tensors(tensors)
    save_file(tensors, folder / "m.safetensors", {"model": json.dumps(description)})
    return folder / "m.safetensors"


def setting(*path: str | int, to: Any) -> Change:
    def change(description: dict[str, Any]) -> None:
        content: Any = description
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = to

    return change


NUMBERS = (("cutoff",), ("error_at_trusted",), ("intensity", "scale"), ("intensity", "offset"), ("parts", 0, "lowest"),
           ("parts", 0, "reach"), ("parts", 0, "count"), ("parts", 0, "slots"), ("segments", 0, "value"),
           ("segments", 0, "layer"), ("segments", 0, "color", 1), ("version",))


def test_the_file_is_fine_if_nothing_is_changed(tmp_path: Path) -> None:
    use(rewritten(tmp_path))


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: ".".join(map(str, field)))
def test_numbers_are_finite_and_numbers(tmp_path: Path, field: tuple[str | int, ...]) -> None:
    for value in (float("inf"), float("nan"), -float("inf"), 10 ** 400, "1", None, [], {}, True):
        refused(rewritten(tmp_path, setting(*field, to=value)))


@pytest.mark.parametrize(("field", "value"), [
    (("cutoff",), 0), (("cutoff",), -1), (("error_at_trusted",), -1), (("intensity", "scale"), 0),
    (("intensity", "lowest"), 1e9), (("intensity", "further"), 1), (("intensity",), [1, 2]), (("parts",), []),
    (("parts",), {}), (("parts", 0), 5), (("parts", 0, "count"), 0), (("parts", 0, "count"), 10 ** 9),
    (("parts", 0, "count"), 576.0), (("parts", 0, "slots"), 2), (("parts", 0, "lowest"), 99.0),
    (("parts", 0, "lowest"), 1.0), (("parts", 0, "highest"), 5.0), (("segments", 0, "layer"), -5),
    (("segments", 0, "layer"), 10 ** 6), (("segments", 0, "value"), 0), (("segments", 0, "value"), 2 ** 40),
    (("segments", 0, "name"), 7), (("segments", 0, "color"), [1, 2]), (("segments", 0, "color"), "red"),
    (("segments",), []), (("segments",), "none"), (("segments",), [5]), (("mode",), "magic"), (("mode",), ["alpha"]),
    (("mode",), None), (("provenance",), "somewhere"), (("version",), 0), (("version",), -3), (("version",), 99),
    (("format",), ["x"])], ids=str)
def test_values_are_possible(tmp_path: Path, field: tuple[str | int, ...], value: Any) -> None:
    refused(rewritten(tmp_path, setting(*field, to=value)))


def test_segments_do_not_share_a_value(tmp_path: Path) -> None:
    refused(rewritten(tmp_path, lambda description: description["segments"].append(description["segments"][0])))


@pytest.mark.parametrize("name", ["parts.0.centres", "parts.0.values", "parts.0.slopes", "parts.0.log_depths",
                                  "parts.0.tilts", "frame", "expected_error.middle", "expected_error.step"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_of_tensors_are_finite(tmp_path: Path, name: str, value: float) -> None:
    refused(rewritten(tmp_path, change_tensors=lambda tensors: tensors[name].view(-1)[1:2].fill_(value)))


@pytest.mark.parametrize(("name", "tensor"), [
    ("parts.0.channels", torch.full((576, 3), 99, dtype=torch.int32)),
    ("parts.0.channels", torch.full((576, 3), -1, dtype=torch.int32)), ("parts.0.channels", torch.zeros(576, 3)),
    ("parts.0.centres", torch.zeros(576, 3, dtype=torch.int32)), ("parts.0.centres", torch.full((576, 3), 50.0)),
    ("parts.0.centres", torch.zeros(576, 2)), ("parts.0.values", torch.zeros(577, 3)), ("frame", torch.zeros(4, 4)),
    ("frame", 3 * torch.eye(4)), ("frame", torch.eye(3)), ("expected_error.offsets", torch.zeros(2)),
    ("expected_error.offsets", torch.arange(9.0)), ("expected_error.step", torch.zeros(2)),
    ("expected_error.step", torch.ones(3)), ("expected_error.middle", torch.zeros(0, 3, 3)),
    ("expected_error.middle", torch.zeros(3)), ("foreign", torch.zeros(1)), ("parts.1.centres", torch.zeros(3, 3)),
    ("gaussians.centres", torch.zeros(3, 3))])
def test_tensors_fit(tmp_path: Path, name: str, tensor: torch.Tensor) -> None:
    refused(rewritten(tmp_path, change_tensors=lambda tensors: tensors.update({name: tensor})))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "null", "7", '"' + "x" * 10, "{}", "\x00",
                                  "1" * 9999])
@pytest.mark.parametrize("field", ["model", "checksums"])
def test_texts_of_all_kinds(tmp_path: Path, field: str, text: str) -> None:
    with safe_open(FORMER, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        metadata = {"model": file.metadata()["model"], field: text}
    save_file(tensors, tmp_path / "m.safetensors", metadata)
    if (field, text) == ("checksums", "{}"):  # as if there were none
        use(tmp_path / "m.safetensors")
    else:
        refused(tmp_path / "m.safetensors")


def test_every_flipped_bit_is_noticed(saved: Path, tmp_path: Path) -> None:
    content, random = saved.read_bytes(), np.random.default_rng(0)
    start = 8 + int.from_bytes(content[:8], "little")
    flipped = tmp_path / "flipped.safetensors"
    for place in [*random.integers(start, len(content), 60), *random.integers(0, start, 60), len(content) - 1]:
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        if bytes(changed).rstrip() == content.rstrip() or content[place:place + 1] == b" ":
            continue  # blanks between the words of the header
        flipped.write_bytes(changed)
        refused(flipped)


def test_a_missing_checksum_is_noticed(saved: Path) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content.replace(b'\\"frame\\": \\"', b'\\"brame\\": \\"', 1))
    refused(saved)


@pytest.fixture
def sparse(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A file of many gigabytes that take no room on the disk."""
    path = tmp_path / "sparse.safetensors"

    def make(name: str, shape: list[int], dtype: str = "F32") -> Path:
        content = FORMER.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        end = len(content) - start
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text + content[start:])
            file.truncate(8 + len(text) + end + size)
        return path

    yield make
    path.unlink(missing_ok=True)


def test_a_foreign_tensor_of_16_gigabytes_is_refused_unread(sparse: Callable[..., Path]) -> None:
    import psutil

    path = sparse("foreign", [2 ** 32])
    before = psutil.Process().memory_info().rss
    with pytest.raises(InputError, match="foreign does not belong"):
        load_model(path)
    assert psutil.Process().memory_info().rss < before + 2 ** 27


def test_what_does_not_fit_into_memory_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_file, "free_memory", lambda: 0)
    monkeypatch.setattr(tensor_file, "_ALWAYS_FREE", 0)
    with pytest.raises(TooLargeError, match="not enough memory for the model"):
        use(FORMER)
