"""Memory is planned within the least of what the host has free, control groups leave, and limits of the process."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from posix_case import POSIX
from repository import ROOT

from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.runtime.memory_limits import allowed_bytes, free_memory, group_rooms, held_memory

MEBIBYTE = 2 ** 20
_V1 = Path("/sys/fs/cgroup/memory")
_TELL = "from TriplaneGaussianReconLib.runtime.memory_limits import free_memory; print(free_memory())"


def process(folder: Path, cgroup: str, *mounts: str) -> Path:
    """A folder as /proc/self is one; `mounts`: fields of mountinfo from the fourth on."""
    (folder / "cgroup").write_text(cgroup)
    (folder / "mountinfo").write_text("".join(f"31 23 0:{n} {mount}\n" for n, mount in enumerate(mounts)))
    return folder


def group(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")
    return folder


def test_every_group_of_version_2_counts(tmp_path: Path) -> None:
    mount = group(tmp_path / "mount")
    group(mount / "pod", memory__max=1000, memory__current=700, memory__stat="anon 1\ninactive_file 200")
    group(mount / "pod" / "container", memory__max="max", memory__high=900, memory__current=100, memory__stat="")
    group(mount / "pod" / "container" / "job", memory__max="max", memory__current=50)
    told = process(tmp_path, "0::/pod/container/job\n", f"/ {mount} rw - cgroup2 cgroup2 rw")
    assert sorted(group_rooms(told)) == [500, 800]


def test_every_group_of_version_1_counts(tmp_path: Path) -> None:
    mount = group(tmp_path / "memory", memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=5000)
    group(mount / "docker", memory__limit_in_bytes=2000, memory__usage_in_bytes=1500,
          memory__stat="total_inactive_file 100")
    told = process(tmp_path, "5:cpu:/docker\n4:blkio,memory:/docker\n0::/\n",
                   f"/ {tmp_path} rw - cgroup cgroup rw,cpu", f"/ {mount} rw shared:7 - cgroup cgroup rw,blkio,memory")
    assert min(group_rooms(told)) == 600


@pytest.mark.parametrize(("name", "root"), [("/docker/1", "/docker/1"), ("/docker/1", "/"), ("/../../other", "/..")])
def test_a_container_sees_its_group_at_the_mount(tmp_path: Path, name: str, root: str) -> None:
    mount = group(tmp_path / "mount", memory__max=300, memory__current=100)
    assert list(group_rooms(process(tmp_path, f"0::{name}\n", f"{root} {mount} rw - cgroup2 cgroup2 rw"))) == [200]


@pytest.mark.parametrize("content", ["", "rubbish", "0::", "\x00"])
def test_what_cannot_be_read_sets_no_limit(tmp_path: Path, content: str) -> None:
    mount = group(tmp_path / "mount", memory__max=content, memory__current="many")
    assert not list(group_rooms(process(tmp_path, content, f"/ {mount} rw - cgroup2 cgroup2 rw")))
    assert not list(group_rooms(process(tmp_path, "0::/\n", f"/ {mount} rw - cgroup2 cgroup2 rw")))
    assert not list(group_rooms(tmp_path / "none"))


def test_no_more_than_the_host_has() -> None:
    assert 0 < free_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize(("text", "size"), [("6GB", 6e9), ("6 gb", 6e9), ("1.5GiB", 1.5 * 2 ** 30), ("900MB", 9e8),
                                            ("0.5 TB", 5e11), (7 * 10 ** 9, 7e9)])
def test_what_is_allowed_is_an_amount_with_a_unit_or_bytes(text: str | int, size: float) -> None:
    assert allowed_bytes(text) == size


@pytest.mark.parametrize(("text", "message"), [
    ("6", "has no unit. Write for instance 6GB"), ("6G", "is no amount of memory"), ("lots", "is no amount of memory"),
    ("-6GB", "is no amount"), ("", "is no amount"), ("100MB", "less than the program itself takes"),
    (6, "less than the program itself takes"), (float("nan"), "less than")])
def test_what_cannot_be_allowed_is_refused(text: str | int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        allowed_bytes(text)


def test_what_this_process_holds_is_less_than_the_host_has() -> None:
    assert 10 ** 7 < held_memory() < psutil.virtual_memory().total


def told_by(code: str) -> int:
    """What a process of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@POSIX
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_the_limits_of_a_process_count(limit: str) -> None:
    code = f"import resource; resource.setrlimit(resource.{limit}, (2 ** 29, 2 ** 29))\n{_TELL}"
    room = told_by(code)
    assert 100 * MEBIBYTE < room < 2 ** 29


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A real group of 300 MiB."""
    folder = _V1 / f"triplane-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(300 * MEBIBYTE))
    except OSError:
        pytest.skip("makes a control group of version 1, which takes a privileged container that has them")
    yield folder
    folder.rmdir()


def test_a_real_group_counts(small_group: Path) -> None:
    code = f"import os; open('{small_group}/cgroup.procs', 'w').write(str(os.getpid()))\n{_TELL}"
    room = told_by(code)
    assert 200 * MEBIBYTE < room <= 300 * MEBIBYTE
