"""Which words of a command belong to which volume."""
from __future__ import annotations

import pytest

from TriplaneGaussianReconLib.command_line.arguments import build_parser, parse
from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.command_line.volume_options import split

KNOWN = {"--axis": True, "--slices": True, "--seed": True, "--fast": False, "--slow": False, "-h": False}


def test_options_go_with_the_volume_before_them() -> None:
    words = split(["--axis", "i", "a", "--slices", "1-3", "--seed", "5", "b", "c", "--fast", "--axis=j"], KNOWN,
                  {"--axis", "--slices"})
    assert words is not None
    assert words.whole == ("--axis", "i", "--seed", "5", "--fast", "a")
    assert words.volumes == (("--slices", "1-3", "a"), ("b",), ("--axis=j", "c"))


def test_paths_that_look_like_options_follow_two_dashes() -> None:
    words = split(["a", "--", "-b", "--axis"], KNOWN, {"--axis"})
    assert words is not None and words.volumes == (("a",), ("--", "-b"), ("--", "--axis"))
    words = split(["-", "-1", "-.5"], KNOWN, ())
    assert words is not None and len(words.volumes) == 3


@pytest.mark.parametrize("argv", [["a"], [], ["a", "--axis", "b"], ["--seed"], ["a", "-x"]])
def test_one_volume_is_left_to_the_parser(argv: list[str]) -> None:
    assert split(argv, KNOWN, {"--axis"}) is None


@pytest.mark.parametrize("option", ["--unknown", "--s", "-x", "--unknown=3"])
def test_options_that_are_not_known_are_of_the_whole(option: str) -> None:
    words = split(["a", "b", option], KNOWN, {"--axis"})
    assert words is not None and words.whole == (option, "a")


@pytest.mark.parametrize("argv", [
    ["v.nrrd", "--output", "o.nrrd"], ["--keep-every", "2", "v.nrrd", "--seed=3", "--output", "o", "--cover-voxels"],
    ["--labels", "l.nrrd", "--", "-v.nrrd"]])
def test_one_volume_is_parsed_as_ever(argv: list[str]) -> None:
    assert parse(["reconstruct", *argv]) == build_parser().parse_args(["reconstruct", *argv])
    assert parse(["reconstruct", *argv]).stacks == ()


def test_each_volume_has_its_own_options_before_those_of_all() -> None:
    arguments = parse(["reconstruct", "--thickness", "4", "--keep-every", "2", "--profile", "box", "a.nii", "--labels",
                       "a.seg.nrrd", "--output", "o.nrrd", "b", "--slices", "1,3", "--thickness=3.5", "--series", "7",
                       "--seed", "3", "c.nii", "--to-first", "c.tfm", "--excl", "5", "--motion", "none"])
    a, b, c = arguments.stacks
    assert [(s.volume, s.thickness, s.profile) for s in (a, b, c)] == [
        ("a.nii", 4.0, "box"), ("b", 3.5, "box"), ("c.nii", 4.0, "box")]
    assert [(s.keep_every, s.slices) for s in (a, b, c)] == [(2, None), (None, "1,3"), (2, None)]
    assert (a.labels, b.labels, c.to_first, c.exclude, b.series, a.series) == (
        "a.seg.nrrd", None, "c.tfm", "5", "7", "")
    masked = parse(["evaluate", "--mask", "all.nrrd", "a", "b", "--mask", "b.nrrd"]).stacks
    assert [volume.mask for volume in masked] == ["all.nrrd", "b.nrrd"]
    assert (arguments.volume, arguments.labels, arguments.output, arguments.seed, arguments.motion) == (
        "a.nii", "a.seg.nrrd", "o.nrrd", 3, "none")


@pytest.mark.parametrize(("argv", "what"), [
    (["--labels", "l.nrrd", "a", "b"], "--labels belongs to one volume"),
    (["--to-first", "l.tfm", "a", "b"], "--to-first belongs to one volume"),
    (["a", "b", "--thickness", "0"], "no positive number"), (["a", "b", "--axis"], "expected one argument"),
    (["a", "b", "--slices", "1", "--keep-every", "2"], "not allowed with"),
    (["a", "b", "--nonsense"], "unrecognized arguments: --nonsense\n"),
    (["a", "b", "--s", "1"], "ambiguous option: --s "), (["a", "b", "--motion", "slices"], "invalid choice")])
def test_wrong_usage_of_several_volumes_ends_with_2(argv: list[str], what: str,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["reconstruct", *argv, "--output", "o.nrrd"])
    printed = capsys.readouterr().err
    assert end.value.code == 2 and "usage: triplane-gaussian-recon" in printed and what in printed
