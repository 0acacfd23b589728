"""What is wrong is one whole line, and the last thing on standard error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from autokd.errors import first_line, nearest_name

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no such table", "no such table"),
        ("no such table\n[SQL: SELECT 1]\n(Background …)", "no such table"),
        ("Error(s) in loading:\n\tMissing key(s): \n\n a, b\nmore", "Error(s) in loading: Missing key(s): a, b"),
        ("\n\n  indented\n", "indented"),
        ("it ends so:", "it ends so:"),
        ("", "ValueError"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)  # fmt: skip
def test_an_error_of_someone_else_is_not_cut_at_its_colon(text, said):
    assert first_line(ValueError(text)) == said


@pytest.mark.parametrize(
    ("name", "said"), [("gostnet", " Did you mean 'ghostnet'?"), ("ghostnet", ""), ("zzz", "")]
)
def test_a_name_that_is_right_is_not_asked_about_when_something_else_is_wrong(name, said):
    assert nearest_name(name, ["ghostnet", "starnet"]) == said


def test_torchs_own_error_says_what_does_not_fit():
    with pytest.raises(RuntimeError, match="in loading state_dict") as raised:
        nn.Linear(2, 3).load_state_dict({})
    assert "Missing key(s) in state_dict" in first_line(raised.value)


@pytest.mark.slow
def test_an_error_does_not_stand_below_a_librarys_warnings(tmp_path):
    (tmp_path / "loud.py").write_text(
        "import warnings\n"
        "from torch import nn\n"
        "def build(num_classes, in_chans):\n"
        "    for n in range(100): warnings.warn(f'warning {n}')\n"
        "    raise ValueError('two lines:\\nthis is the second')\n"
    )
    (tmp_path / "search.yaml").write_text(
        "data: {source: digits}\n"
        "teacher: {model: 'loud:build', train: {epochs: 1}}\n"
        "students: {model: resnet}\n"
    )
    unset = ("PYTHONWARNINGS", "HF_HUB_VERBOSITY")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-m", "autokd.cli", "check", "search.yaml"],
        cwd=tmp_path,
        env=kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "warning 1" not in done.stderr
    assert "this is the second" in done.stderr.splitlines()[-1]
