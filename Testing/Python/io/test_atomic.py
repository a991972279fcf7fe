"""Files appear whole or not at all, where they were asked for, and with the mode that they had."""
from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from posix_case import POSIX, SHORTFALLS, room_for

from TriplaneGaussianReconLib.errors import OutputError
from TriplaneGaussianReconLib.io.atomic import check_output, whole_file, write_array, write_json

ARRAY = np.random.default_rng(0).integers(0, 30000, (8, 40, 40)).astype(np.int16)
Write = Callable[[Path], object]


def write_text(path: Path) -> None:
    with whole_file(path) as part:
        part.write_text("new")


@POSIX
@pytest.mark.parametrize("write", [lambda path: write_array(path, ARRAY), lambda path: write_json(path, ARRAY.tolist())
                                   ], ids=["array", "json"])
def test_a_file_that_lacks_its_last_bytes_is_not_taken_for_whole(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "file"
    write(path)
    size = path.stat().st_size
    for shortfall in SHORTFALLS:
        path.write_text("old")
        with room_for(size - shortfall), pytest.raises(OutputError, match="was not written"):
            write(path)
        assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]
    with room_for(size):
        write(path)
    assert path.stat().st_size == size


@POSIX
@pytest.mark.parametrize("there", [True, False], ids=["existing", "dangling"])
def test_what_a_link_leads_to_is_written(tmp_path: Path, there: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link, first = tmp_path / "elsewhere" / "target", tmp_path / "link", tmp_path / "first"
    link.symlink_to(Path("elsewhere") / "target")
    first.symlink_to(link)
    if there:
        target.write_text("old")
    check_output(first)
    write_text(first)
    assert first.is_symlink() and link.is_symlink() and target.read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "first", "link"]
    assert os.listdir(tmp_path / "elsewhere") == ["target"]


@POSIX
def test_a_link_into_a_folder_that_is_missing_or_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "astray").symlink_to("missing/file")
    (tmp_path / "circle").symlink_to("circle")
    for name, message in (("astray", "missing' does not exist"), ("circle", "circle' cannot be written: ")):
        with pytest.raises(OutputError, match=message):
            check_output(tmp_path / name)
        with pytest.raises(OutputError):
            write_text(tmp_path / name)
        assert (tmp_path / name).is_symlink()


@POSIX
def test_what_is_no_file_is_refused_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to("pipe")
    for path in (pipe, tmp_path / "link"):
        for write in (check_output, write_text):
            with pytest.raises(OutputError, match=f"'{path}' is a device, pipe or socket"):
                write(path)
    assert pipe.is_fifo() and sorted(os.listdir(tmp_path)) == ["link", "pipe"]
    with pytest.raises(OutputError, match=f"'{os.devnull}' is a device"):
        check_output(Path(os.devnull))


@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    write_text(path)
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == mode


@POSIX
def test_a_new_file_has_the_usual_mode_but_nobody_sees_it_before(tmp_path: Path) -> None:
    former = os.umask(0o027)
    try:
        with whole_file(tmp_path / "file") as part:
            part.write_text("new")
            folder, = tmp_path.iterdir()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
