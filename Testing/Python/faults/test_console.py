"""Results do not depend on who looks on."""
from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from posix_case import POSIX
from program import QUICK, Ended, Program, unharmed

from TriplaneGaussianReconLib.runtime.standard_streams import visible

pytestmark = POSIX
CLOSED = -1


@contextmanager
def stream(kind: str) -> Iterator[int]:
    """A stream that cannot be written to."""
    if kind == "closed":
        yield CLOSED
        return
    if kind == "full":
        number = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, number = os.pipe()
        os.close(reader)
    yield number
    os.close(number)


def quiet(ended: Ended) -> None:
    for text in (ended.out, ended.err):
        assert "Traceback" not in text and "Exception ignored" not in text
    assert "disk is full" not in ended.err


@pytest.mark.parametrize("where", ["stdout", "stderr"])
@pytest.mark.parametrize("kind", ["closed", "full", "gone"])
def test_results_are_written_whatever_becomes_of_the_console(program: Program, folder: Path, kind: str, where: str
                                                             ) -> None:
    (folder / "dense.nrrd").write_text("an older result")
    with stream(kind) as number, unharmed(folder, "dense.nrrd"):
        ended = program("reconstruct", "scan.nrrd", *QUICK, "--output", "dense.nrrd", **{where: number})
    assert ended.code == 0
    assert (folder / "dense.nrrd").read_bytes().startswith(b"NRRD")
    quiet(ended)


@pytest.mark.parametrize(("kind", "code"), [("closed", 4), ("full", 4), ("gone", 0)])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_is_only_printed_has_to_arrive_unless_the_reader_had_enough(
        program: Program, folder: Path, kind: str, code: int, options: tuple[str, ...]) -> None:
    with stream(kind) as number, unharmed(folder):
        ended = program("info", "model.safetensors", *options, stdout=number)
    assert ended.code == code and ("standard output" in ended.err) == (code == 4)
    quiet(ended)


@pytest.mark.parametrize("kind", ["closed", "full", "gone"])
@pytest.mark.parametrize("arguments", [("--help",), ("reconstruct", "--no-such-option"), ("info", "none.safetensors")])
def test_nothing_is_said_at_the_end_of_python(program: Program, folder: Path, kind: str, arguments: tuple[str, ...]
                                              ) -> None:
    with stream(kind) as one, stream(kind) as other, unharmed(folder):
        ended = program(*arguments, stdout=one, stderr=other)
    assert ended.code == (0 if arguments == ("--help",) else 2)


def test_a_real_pipe_and_a_real_end_of_python(program: Program, folder: Path) -> None:
    with stream("gone") as one, stream("full") as other, unharmed(folder, "dense.npz"):
        ended = program("reconstruct", "scan.nrrd", *QUICK, "--output", "dense.npz", stdout=one, stderr=other,
                        cold=True)
    assert ended.code == 0


def test_paths_that_the_console_cannot_show(program: Program, folder: Path) -> None:
    with unharmed(folder, "schädel.nrrd"):
        ended = program("reconstruct", "scan.nrrd", *QUICK, "--output", "schädel.nrrd",
                        environment={"PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"})
    assert ended.code == 0 and r"sch\xe4del.nrrd" in ended.out
    quiet(ended)


@pytest.mark.parametrize("environment", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
                                         {"LC_ALL": "rubbish", "LANG": "\x01"}])
def test_locales_that_know_no_letters(program: Program, folder: Path, environment: dict[str, str | None]) -> None:
    with unharmed(folder, "schädel.npz"):
        ended = program("reconstruct", "scan.nrrd", *QUICK, "--output", "schädel.npz", environment=environment)
    assert ended.code == 0
    quiet(ended)


HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\x7f\u202egnp.exe\r\nerror: no"


def test_paths_cannot_steer_the_terminal(program: Program, folder: Path) -> None:
    for arguments in (("reconstruct", HOSTILE, "--output", "o.nrrd"), ("info", HOSTILE), ("reconstruct", "scan.nrrd",
                      "--output", "o.nrrd", "--seed", HOSTILE), ("reconstruct", "scan.nrrd", "--output", HOSTILE)):
        with unharmed(folder):
            ended = program(*arguments)
        assert ended.code == 2
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ended.out + ended.err)
        assert r"\x1b[2J" in ended.err and not any(line.startswith("error: no") for line in ended.err.splitlines())


def test_labels_cannot_steer_the_terminal(program: Program, folder: Path) -> None:
    from TriplaneGaussianReconLib.data.images import Segment
    from TriplaneGaussianReconLib.model.model_file import load_model, save_model

    model = load_model(folder / "model.safetensors")
    object.__setattr__(model, "segments", (Segment(HOSTILE, 1),))
    object.__setattr__(model, "provenance", {f"key{HOSTILE}": HOSTILE})
    save_model(folder / "hostile.safetensors", model)
    with unharmed(folder):
        table, exact = program("info", "hostile.safetensors"), program("info", "hostile.safetensors", "--json")
    for ended in (table, exact):
        assert ended.code == 0 and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ended.out)
    assert json.loads(exact.out)["labels"] == [HOSTILE]  # JSON keeps it to the letter


def test_all_letters_are_shown_as_they_are() -> None:
    for text in ("Körper 肝 αβγ עברית العربية", "👩‍⚕️ a\u00a0b", "C:\\scans\\ü.nrrd"):
        assert visible(text) == text
    assert visible("a\nb\tc", lines=True) == "a\nb\tc" and visible("a\nb\tc") == r"a\nb\tc"
    assert visible("caf\udcff") == r"caf\udcff"
