"""The script that lies beside an exported student, run on images of val before anybody else runs it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from autokd.config import DataConfig
from autokd.data.image_files import write_image_files
from autokd.errors import ExportError
from autokd.exporting.formats import Format, Leaving
from autokd.exporting.parity import share

NAME = "example.py"
IMAGES = 200  # of val, at most, that it is run on
AGREEMENT = 0.95  # the least share of answers that are autokd's: Pillow and torch round pixels differently by 1 of 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What it said of images of val, from their files, beside what autokd said of its own."""

    images: int
    accuracy: float
    expected: float  # accuracy of the same file on the same images, prepared by autokd
    agreement: float  # share of images with the same answer

    @property
    def holds(self) -> bool:
        """One answer at the border may change however few the images are."""
        changed = round((1 - self.agreement) * self.images)
        return changed <= max(1, (1 - AGREEMENT) * self.images)

    @property
    def problems(self) -> list[str]:
        """In one line, or none."""
        if self.holds:
            return []
        return [
            f"{NAME} is right for {self.accuracy:.1%} of {self.images} val images where autokd is for {self.expected:.1%}, "
            f"and gives the same answer for {self.agreement:.1%}; at least {AGREEMENT:.0%} must agree"
        ]


def try_example(
    student: Leaving,
    form: Format,
    content: bytes,
    logits: Tensor,
    *,
    config: DataConfig,
    cache: Path,
) -> Example:
    """Run the script on images of val as the data have them. `logits` (N, C): what autokd got from the same file."""
    val, classes = student.data.val, student.data.info.class_names
    chosen = torch.linspace(0, len(val) - 1, min(IMAGES, len(val))).round().long()
    with tempfile.TemporaryDirectory(prefix="autokd-example-") as place:
        model, script = Path(place) / f"student{form.suffix}", Path(place) / NAME
        model.write_bytes(content)
        text = student.recipe.script(form.runner, file=model.name, classes=classes)
        script.write_text(text, encoding="utf-8")
        files = write_image_files(config, val.rows[chosen].tolist(), Path(place), cache=cache)
        named = run_script(script, files)
    answers = torch.tensor([classes.index(name) for name in named])
    expected, labels = logits[chosen].argmax(dim=-1), val.labels[chosen]
    return Example(
        images=len(chosen),
        accuracy=share(answers == labels),
        expected=share(expected == labels),
        agreement=share(answers == expected),
    )


def run_script(script: Path, files: Sequence[Path]) -> list[str]:
    """The class that it names for each file. Raises ExportError with its last words where it fails."""
    command = [sys.executable, "-X", "utf8", "-W", "ignore", str(script), *map(str, files)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    answers = [line.partition("\t")[2] for line in done.stdout.splitlines()]
    if done.returncode or len(answers) != len(files):
        words = done.stderr.strip().splitlines() or ["it said nothing of some images"]
        raise ExportError(f"{script.name} can't be run here: {words[-1]}")
    return answers
