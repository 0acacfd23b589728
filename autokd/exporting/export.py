"""A finished trial's student as a file that ships, held against the student on real images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from torch import Tensor

from autokd.data import load_data
from autokd.drift.reference import ModelFile, make_reference
from autokd.engine.candidate_file import NAME, parse_candidate_file, refuse_other_data
from autokd.engine.place import refuse_output
from autokd.errors import ConfigError, nearest_name, storage_errors
from autokd.evaluation import predict
from autokd.exporting.card import model_card
from autokd.exporting.costs import count_again, describe_file
from autokd.exporting.example import NAME as EXAMPLE
from autokd.exporting.example import Example, try_example
from autokd.exporting.formats import CPU, FORMATS, Leaving
from autokd.exporting.parity import EXACT, ROUNDED, Parity, compare
from autokd.runtime import METADATA_FLOATS, read_metadata

CARD = "MODEL_CARD.md"
INSTEAD = (
    "the float file; fp16 (students.precision: fp16), half its size with the same answers; another family (resnet, convnext "
    "and ghostnet round well, mobilenets badly); or students.precision: [fp32, int8] in the search file, which measures "
    "int8 students and chooses among them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written, and how it compares."""

    path: Path
    card: Path
    source: str  # which trial of which search it is, in words
    size_bytes: int
    precision: str
    input: str  # what it takes, in words
    runtime: str  # that ran it here
    parity: Parity
    recorded: float | None  # val accuracy of the trial; None: the export is of another precision
    floats: (
        str | None
    )  # activations that an int8 file has in float: "12 of 143"; None: as asked for
    example: Example
    costs: Mapping[str, float]  # that follow from the shapes of the trained student
    overruns: tuple[str, ...]  # costs other than recorded, or above a limit of the search
    note: str | None  # on the size of the file, which is more than its weights

    @property
    def faithful(self) -> bool:
        """Whether it answers as the student does, in autokd's hands and in a stranger's."""
        return self.parity.holds and self.example.holds

    @property
    def problems(self) -> list[str]:
        """Why it is not ready to ship; one line each."""
        return [*self.parity.problems, *self.example.problems, *self.overruns]

    @property
    def advice(self) -> str | None:
        """What to try where rounding to int8 costs too much."""
        failed = self.precision == "int8" and not self.parity.holds
        return f"What to try instead of this int8 file: {INSTEAD}" if failed else None


def export_student(
    folder: Path,
    output: Path,
    *,
    source: str,
    cache: Path,
    format_name: str = "onnx",
    int8: bool = False,
    normalise: bool = True,
    facts: Mapping[str, float | str] | None = None,
) -> Exported:
    """The student in `folder` (candidate.yaml, best.safetensors) as a file in the new folder `output`, with its model card and what
    `autokd monitor` compares new images with.

    A candidate that ships in int8 leaves as the graph that was measured; `int8` quantises any other. With `normalise` the
    file takes pixels of 0..255, else images that are normalised already. `facts`: metrics and tags of the trial, for the
    card. Where it does not answer as the student does it is named student.failed. Raises DataError where val is not what the trial was chosen on, ExportError where the format can't hold the
    student.
    """
    if format_name not in FORMATS:
        near = nearest_name(format_name, FORMATS)
        raise ConfigError(f"unknown format '{format_name}'; known: {', '.join(FORMATS)}.{near}")
    form = FORMATS[format_name]
    refuse_output(output)
    text = (folder / NAME).read_text(encoding="utf-8")
    recorded = parse_candidate_file(text, source=source)
    stage = recorded.candidate.stages[-1]
    own = stage.student.precision
    precision = "int8" if int8 else own
    if precision not in form.precisions:
        raise ConfigError(
            f"--format {format_name} holds {', '.join(form.precisions)}, not {precision}"
        )
    data = load_data(recorded.config.data, seed=recorded.config.seed, cache=cache)
    refuse_other_data(
        recorded, data.info.hash, source=source, so="the export can't be held against it"
    )
    student = Leaving(
        stage=stage,
        folder=folder,
        data=data,
        precision=precision,
        normalise=normalise,
        source=source,
    )
    budget = recorded.config.budget.to_budget()
    counted = count_again(student, facts or {}, budget)
    facts = counted.correct(facts or {})
    content = form.write(student)
    logits = predict(form.load(content), data.val, inputs=student.taken, device=CPU)
    parity = _parity(student, logits)
    example = try_example(student, form, content, logits, config=recorded.config.data, cache=cache)
    name = "student" if parity.holds and example.holds else "student.failed"
    exported = Exported(
        path=output / f"{name}{form.suffix}",
        card=output / CARD,
        source=source,
        size_bytes=len(content),
        precision=precision,
        input=student.recipe.describe(),
        runtime=form.runtime,
        parity=parity,
        recorded=recorded.val_accuracy if precision == own else None,
        floats=read_metadata(content).get(METADATA_FLOATS) if precision == "int8" else None,
        example=example,
        costs=counted.costs,
        overruns=counted.problems,
        note=describe_file(len(content), counted, budget),
    )
    card = model_card(exported, recorded, data.info, recipe=student.recipe, facts=facts)
    reference = make_reference(
        data,
        logits,
        source=source,
        candidate=yaml.safe_load(text),
        facts=facts,
        file=ModelFile(
            name=exported.path.name,
            format=format_name,
            sha256=hashlib.sha256(content).hexdigest(),
            inputs=student.taken,
        ),
        same=precision == own,
    )
    script = student.recipe.script(
        form.runner, file=exported.path.name, classes=data.info.class_names
    )
    with storage_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        exported.path.write_bytes(content)
        exported.card.write_text(card, encoding="utf-8")
        (output / EXAMPLE).write_text(script, encoding="utf-8")
        reference.save(output)
    return exported


def _parity(student: Leaving, logits: Tensor) -> Parity:
    """Of the file's logits on val, beside the student's in PyTorch."""
    rounded, val = student.precision == "int8", student.data.val
    in_pytorch = student.load("fp32" if rounded else None)
    return compare(
        predict(in_pytorch, val, inputs=student.inputs, device=CPU),
        logits,
        val.labels,
        tolerance=ROUNDED if rounded else EXACT,
    )
