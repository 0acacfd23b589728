"""The outline of a space: how many students, what they cost, what fits; as text and as a picture."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from autokd.cli import app
from autokd.config import parse_config
from autokd.engine.outline import outline
from autokd.errors import ConfigError
from autokd.space import Space, centre

RECORD = {
    "data": {"source": "digits"},
    "teacher": {"model": "resnet", "train": {"epochs": 1}},
    "budget": {"max_macs": "300k"},
    "students": {
        "model": ["resnet", "convnext"],
        "image_size": [8, 16],
        "families": {
            "resnet": {
                "width": {"low": 8, "high": 24, "step": 8}, "depth": [1, 2], "stages": 3, "stem_stride": 2,
            },
            "convnext": {"width": {"low": 8, "high": 9}, "depth": 1, "patch_size": 1},
        },
    },
    "distill": {"weight": {"low": 0.3, "high": 3, "log": True}},
}  # fmt: skip


def make_outline(directory: Path, count: int = 60, **changes):
    config = parse_config(RECORD | changes, source="mine.yaml")
    return outline(config, directory=directory, students=count)


def pick(values):
    return lambda name, distribution: values.get(name, centre(name, distribution))


def test_students_are_counted_as_they_can_be_enumerated(tmp_path):
    space = Space(parse_config(RECORD, source="mine.yaml"), image_size=8)
    for model, count in {"resnet": 3 * 2 * 2, "convnext": 2 * 2}.items():
        own = {
            name: [*range(d.low, d.high + 1, d.step)] if hasattr(d, "low") else [*d.choices]
            for name, d in space.distributions.items()
            if name == "students.image_size" or name.startswith(f"students.{model}.")
        }
        picked = [
            {"students.model": model} | dict(zip(own, values, strict=True))
            for values in itertools.product(*own.values())
        ]
        students = {space.sample_student(pick(values)).describe() for values in picked}
        assert space.count_students(model) == len(students) == count


def test_a_model_of_timm_is_one_student_and_a_continuous_range_is_without_number():
    families = {"mobilenetv3": {"width": {"low": 0.2, "high": 0.5}, "depth": 1.0}}
    students = {"model": ["test_resnet", "mobilenetv3"], "families": families, "image_size": 32}
    space = Space(parse_config(RECORD | {"students": students}, source="mine.yaml"), image_size=8)
    assert space.count_students("test_resnet") == 1
    assert space.count_students("mobilenetv3") is None


def test_samples_have_exact_costs_and_the_budgets_verdict(tmp_path):
    found = make_outline(tmp_path)
    sampled = found.survey.sampled
    assert len(sampled) == 60
    assert found.total == 16
    for each in sampled:
        assert each.fits == (each.cost.macs <= 300_000)
    macs = [each.cost.macs for each in found.survey.feasible]
    assert macs == sorted(macs)
    groups = found.survey.by_model()
    assert sum(each.fits for group in groups.values() for each in group) == len(macs)
    assert {*found.parameters} >= {"students.model", "students.resnet.width", "distill.weight"}


def test_a_space_in_which_nothing_fits_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"budget: none of .* sampled students fits it"):
        make_outline(tmp_path, budget={"max_macs": 10})


def test_the_command_prints_tables_and_draws_what_fits_and_what_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(yaml.safe_dump(RECORD))
    done = CliRunner().invoke(
        app,
        ["space", "mine.yaml", "--students", "40", "--html", "space.html"],
        env={"COLUMNS": "200"},
    )
    assert done.exit_code == 0, done.output
    assert "mine.yaml: 16 students of 2 models. Of 40 sampled," in done.output
    assert "The smallest sampled: " in done.output
    assert "0.3 to 3, logarithmic" in done.output
    page = Path("space.html").read_text()
    for name in ("resnet, within budget", "resnet, over budget", "MACs of one image"):
        assert name in page
    assert "https://cdn" not in page.split("<body>")[1][:2000]
