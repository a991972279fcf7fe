"""What the program says of itself, and of arguments that it does not understand."""
from __future__ import annotations

import re
import subprocess
import sys

import pytest
from repository import ROOT

from TriplaneGaussianReconLib.command_line import arguments, common_options, reconstruct_options
from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.jobs.exit_codes import ExitCode
from TriplaneGaussianReconLib.runtime.devices import DEVICES


@pytest.mark.parametrize("argv", [[], ["reconstruct"], ["evaluate"], ["render"], ["info"], ["export"], ["cohort"],
                                  ["bids"]])
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    code = ("import sys\nfrom TriplaneGaussianReconLib.command_line.main import main\n"
            f"try:\n    main({[*argv, '--help']!r})\nexcept SystemExit as end:\n    assert end.code == 0\n"
            "print([name for name in ('torch', 'numba', 'cv2', 'SimpleITK', 'scipy', 'rich') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "exit codes:" in done.stdout


def test_names_in_the_help_are_those_of_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(reconstruct_options.PRESETS) == list(PRESETS)
    assert common_options.DEVICES == DEVICES
    for name in arguments.AXES:
        Grid((2, 2, 2)).named_axis(name)
    with pytest.raises(SystemExit):
        main(["reconstruct", "--help"])
    printed = capsys.readouterr().out
    assert all(f"  {int(code)} " in printed for code in ExitCode)
    assert all(name in printed for name in (*PRESETS, *arguments.AXES, "--keep-every", "examples:"))


@pytest.mark.parametrize("argv", [[], ["paint"], ["reconstruct", "--output", "o.nrrd"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--preset", "worst"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--seed", "-1"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--output-spacing", "thin"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--keep-every", "x"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--keep-every", "2", "--slices", "1"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--trust", "k:all", "--slices", "1"],
                                  ["render", "m.safetensors", "--point", "1,2", "--output", "o.png"],
                                  ["render", "m.safetensors", "--point", "1,2,nan", "--output", "o.png"],
                                  ["evaluate", "v.nrrd"],
                                  ["evaluate", "v.nrrd", "--keep-every", "2", "--hide-every", "3"]])
def test_wrong_usage_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)
