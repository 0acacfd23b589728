"""The model card that travels with an exported student: what it is, how good, what it costs, where it fails."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from autokd.engine.candidate_file import CandidateFile
from autokd.fairness.rates import wilson
from autokd.needs import asks_logits
from autokd.quantities import format_bytes, format_cost
from autokd.records import COSTS, DataInfo, Stage, also_metric, also_tag

if TYPE_CHECKING:
    from autokd.exporting.export import Exported
    from autokd.exporting.recipe import Recipe

Facts = Mapping[str, float | str]  # a trial's metrics and tags in MLflow


def model_card(
    exported: Exported, recorded: CandidateFile, data: DataInfo, *, recipe: Recipe, facts: Facts
) -> str:
    """Markdown. What is not known is left out, and what was not measured is not claimed."""
    taught = any(stage.teachers for stage in recorded.candidate.stages)
    made = "distilled by autokd" if taught else "trained by autokd on labels alone"
    sections = {
        f"# {recorded.candidate.student.describe()}": [
            f"An image classifier of {len(data.class_names)} classes, {made}: {exported.source}.",
            f"`{exported.path.name}`, {exported.precision}, {format_bytes(exported.size_bytes)}."
            f"{_in_float(exported)}",
        ],
        "## Use": [*_use(exported, data, recipe)],
        "## Training": [*_training(recorded, data, taught=taught)],
        "## Accuracy": [*_accuracy(exported, data, facts)],
        "## Costs": [*_costs(exported, facts)],
        "## Fairness": [*_fairness(exported, facts)],
        "## Limits": [
            f"- Measured on {', '.join([f'{data.name} ({data.source})', *further_in(facts)])} alone; other images, cameras or populations were not.",
            "- Val chose this student among others, which flatters its accuracy on val.",
            *(["- What its teacher gets wrong it may have learnt from it."] if taught else []),
        ],
    }
    parts = ["\n".join((heading, "", *lines)) for heading, lines in sections.items() if lines]
    warning = (
        [f"**Not ready to ship: {'; '.join(exported.problems)}.**"] if exported.problems else []
    )
    return "\n\n".join([*warning, *parts]) + "\n"


def _in_float(exported: Exported) -> str:
    if exported.floats is None:
        return ""
    return f" Weights are int8; {exported.floats} activations stay in float, since rounding them changed answers to train images."


def _use(exported: Exported, data: DataInfo, recipe: Recipe) -> Iterator[str]:
    """Every step from an image file to an answer; squares of another size than the student's are made on the way."""
    dims, example = ", ".join(map(str, recipe.shape)), exported.example
    yield f"- Input: float32 (N, {dims}), made of an image so:"
    yield from (f"  {place}. {step}" for place, step in enumerate(recipe.steps, start=1))
    yield (
        f"- Output: `logits`, float32 (N, {len(data.class_names)}); the classes in order are "
        f"{', '.join(data.class_names)}."
    )
    yield (
        f"- `example.py`, beside `{exported.path.name}`, does all of it: `python example.py FILE …`. Run on {example.images} "
        f"images of val it is right for {example.accuracy:.1%}; autokd, on the same images, for {example.expected:.1%}."
    )


def _training(recorded: CandidateFile, data: DataInfo, *, taught: bool) -> Iterator[str]:
    """A line for each training in turn, the last of which made what is shipped."""
    members = [member.model or "?" for member in recorded.config.teacher.members]
    role = "Teacher" if taught else "No teacher taught it; the one that audits compare it with"
    yield f"- {role}: {' + '.join(members)}, weights {recorded.teacher_hash}."
    bare = f" and {data.unlabelled_count:,} without labels" if data.unlabelled_count else ""
    yield (
        f"- Data: {data.name}, {data.train_count:,} images to train on{bare}, {data.val_count:,} val, "
        f"{data.test_count:,} test; hash {data.hash}."
    )
    yield from (f"- {_one_training(stage)}." for stage in recorded.candidate.stages)
    yield f"- Seed: {recorded.seed}."


def _one_training(stage: Stage) -> str:
    """``student, from assistant 1: losses ce 0.1, kd 1; temperature 4; 12 epochs``"""
    weights = ", ".join(f"{name} {weight:.3g}" for name, weight in stage.loss_weights.items())
    if not stage.training.epochs:
        return f"{stage.name}: {stage.student.describe()}"
    source = " and ".join(stage.teachers) or "labels alone"
    start = f", starting with weights of {stage.start_from}" if stage.start_from else ""
    heat = f"; temperature {stage.temperature:.3g}" if asks_logits(stage) else ""
    said = f"{stage.name}, from {source}{start}".replace("_", " ")
    return f"{said}: losses {weights}{heat}; {stage.training.epochs} epochs"


def _accuracy(exported: Exported, data: DataInfo, facts: Facts) -> Iterator[str]:
    parity = exported.parity
    yield "| split | images | accuracy | 95 % interval (Wilson) | of |"
    yield "| --- | --- | --- | --- | --- |"
    yield _row("val", parity.images, parity.accuracy, f"this file, run by {exported.runtime}")
    if exported.recorded is not None:
        yield _row("val", parity.images, exported.recorded, "the trial, as it was recorded")
        for key, of in (("accuracy", "the trial, asked once"), ("teacher_accuracy", "its teacher")):
            if isinstance(test := facts.get(f"test/{key}"), float):
                yield _row("test", data.test_count, test, of)
        yield from _further_rows(facts)
    yield ""
    yield (
        f"Against the student in PyTorch on the {parity.images:,} images of val: the same answer for "
        f"{parity.agreement:.2%}, logits differ by at most {parity.difference:.2g}."
    )


def _further_rows(facts: Facts) -> Iterator[str]:
    for name in further_in(facts):
        teacher = facts.get(also_metric(name, "teacher_accuracy"))
        against = f"; its teacher {teacher:.2%}" if isinstance(teacher, float) else ""
        images, accuracy = (facts[also_metric(name, key)] for key in ("images", "accuracy"))
        yield _row(
            f"{name} (also_test)", int(images), float(accuracy), f"the trial, asked once{against}"
        )


def further_in(facts: Facts) -> list[str]:
    """The further sets that the student was tested on."""
    found = [key for key in facts if key.startswith("also_test.") and key.endswith("/accuracy")]
    return sorted(key.removeprefix("also_test.").removesuffix("/accuracy") for key in found)


def _row(split: str, n: int, accuracy: float, of: str) -> str:
    low, high = wilson(np.array(round(accuracy * n)), np.array(n))
    return f"| {split} | {n:,} | {accuracy:.2%} | {low:.1%} to {high:.1%} | {of} |"


def _costs(exported: Exported, facts: Facts) -> Iterator[str]:
    known = {name: facts[f"cost/{name}"] for name in COSTS if f"cost/{name}" in facts}
    yield from _of_the_trial(exported, known)
    for name, value in known.items():
        yield f"- {name}: {format_cost(name, float(value))}"
    if "latency_ms" in known and (device := facts.get("autokd.latency_device")):
        yield f"- latency on: {device}"


def _fairness(exported: Exported, facts: Facts) -> Iterator[str]:
    yield from _of_the_trial(exported, {"autokd.audit", "autokd.test_audit"} & facts.keys())
    if status := facts.get("autokd.audit"):
        yield f"- Audit against the teacher on val: **{status}**."
    if status := facts.get("autokd.test_audit"):
        yield f"- Audit against the teacher on test: **{status}**."
    for name in further_in(facts):
        yield f"- Audit against the teacher on {name}: **{facts[also_tag(name, 'audit')]}**."
    worst = facts.get("audit/worst_group_accuracy")
    if isinstance(worst, float):
        yield f"- Worst group on val: {facts.get('autokd.worst_group')}, accuracy {worst:.2%}."


def _of_the_trial(exported: Exported, known: Collection[str]) -> Iterator[str]:
    if known and exported.recorded is None:
        yield f"- Of the student before it became {exported.precision}; this file was not measured so."
