"""Records: what is written down about a candidate or a trial comes back as it was."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autokd.records import (
    COSTS,
    TEACHER,
    Budget,
    Candidate,
    Cost,
    Epoch,
    Stage,
    StudentSpec,
    Training,
    TrialResult,
    content_hash,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
# Text that reads like a number, a truth value or markup is what flat text formats lose.
texts = st.text(max_size=12) | st.sampled_from(
    [
        "1",
        "1e3",
        "3e-4",
        "true",
        "null",
        "None",
        "NaN",
        "-0",
        '"',
        "'a'",
        "[1]",
        "{}",
        "é ü 模",
        "a: b",
        "# c",
        "",
    ]
)
scalars = texts | finite | st.integers() | st.booleans() | st.none()
numbers = st.tuples() | st.lists(st.integers() | finite, max_size=4).map(tuple)
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
specs = st.builds(
    StudentSpec,
    model=texts,
    arguments=st.dictionaries(names, scalars | numbers, max_size=4),
    image_size=st.integers(1, 512),
)
trainings = st.builds(
    Training,
    epochs=st.integers(1, 300),
    batch_size=st.integers(2, 1024),
    optimizer=texts,
    learning_rate=finite,
    weight_decay=finite,
    augmentation=texts,
    patience=st.none() | st.integers(1, 10),
)


@st.composite
def candidates(draw) -> Candidate:
    stage_names = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    stages = [
        Stage(
            name=name,
            student=draw(specs),
            teachers=tuple(draw(st.lists(st.sampled_from([TEACHER, *stage_names]), max_size=2))),
            loss_weights=draw(st.dictionaries(names, finite, min_size=1, max_size=3)),
            temperature=draw(finite),
            training=draw(trainings),
            start_from=draw(st.none() | st.sampled_from(stage_names)),
            mitigation=draw(st.sampled_from(["none", "group_dro"])),
        )
        for name in stage_names
    ]
    return Candidate(stages=tuple(stages))


costs = st.builds(
    Cost,
    macs=st.integers(0, 10**12),
    params=st.integers(0, 10**10),
    size_bytes=st.integers(0, 10**11),
    latency_ms=st.none() | st.floats(1e-3, 1e4),
)
limits = st.none() | st.floats(1, 1e12)
budgets = st.builds(Budget, macs=limits, params=limits, latency_ms=limits, size_bytes=limits)

STUDENT = Stage(
    name="student",
    student=StudentSpec(model="resnet", arguments={"width": 16, "depth": 1}, image_size=32),
    teachers=(TEACHER,),
    loss_weights={"ce": 0.1, "kd": 0.9},
    temperature=4.0,
    training=Training(
        epochs=3, batch_size=64, optimizer="adamw", learning_rate=3e-4, weight_decay=0.05
    ),
)
ASSISTANT = replace(STUDENT, name="assistant_1", student=replace(STUDENT.student, image_size=48))
PRUNED = replace(
    STUDENT, name="prune", student=replace(STUDENT.student, pruned=0.3), start_from="student"
)
FINETUNED = replace(STUDENT, name="finetune", teachers=(), start_from="student")
COST = Cost(macs=10**6, params=10**5, size_bytes=4 * 10**5)


@given(candidates())
@settings(deadline=None, max_examples=40)
def test_a_candidate_comes_back_from_its_params(candidate):
    params = candidate.to_params()
    assert all(isinstance(value, str) for value in params.values())
    assert Candidate.from_params(params) == candidate


def test_a_mitigation_changes_a_candidates_hash_and_none_is_what_it_was_before_there_were_any():
    assert Candidate(stages=(STUDENT,)).hash == "800d25bf0deed1ca"
    assert Candidate(stages=(replace(STUDENT, mitigation="mfd"),)).hash != "800d25bf0deed1ca"


@pytest.mark.parametrize(
    ("stages", "known"),
    [
        ((STUDENT, PRUNED), "56bcfaed14b7113d"),
        ((ASSISTANT, replace(STUDENT, teachers=("assistant_1",)), FINETUNED), "14622a809c8b4792"),
        (
            (replace(STUDENT, student=replace(STUDENT.student, start="pretrained")),),
            "4247fbc002901ee0",
        ),
    ],
    ids=["pruned", "taught by an assistant, then fine-tuned", "from published weights"],
)
def test_what_was_recorded_before_there_were_heirs_keeps_its_hash(stages, known):
    assert Candidate(stages=stages).hash == known


def test_a_candidate_of_before_there_were_mitigations_has_none():
    record = Candidate(stages=(STUDENT,)).to_dict()
    del record["stages"][0]["mitigation"]
    assert Candidate.from_dict(record).stages[0].mitigation == "none"


@given(candidates())
@settings(deadline=None, max_examples=40)
def test_a_candidate_comes_back_from_yaml_and_from_json(candidate):
    record = candidate.to_dict()
    assert Candidate.from_dict(yaml.safe_load(yaml.safe_dump(record))) == candidate
    assert Candidate.from_dict(json.loads(json.dumps(record))) == candidate


@given(candidates())
@settings(deadline=None, max_examples=40)
def test_a_candidate_keeps_its_hash_through_params_and_yaml(candidate):
    through_params = Candidate.from_params(candidate.to_params())
    through_yaml = Candidate.from_dict(yaml.safe_load(yaml.safe_dump(candidate.to_dict())))
    assert through_params.hash == through_yaml.hash == candidate.hash


def test_params_of_no_stage_are_ignored():
    candidate = Candidate(stages=(STUDENT,))
    params = candidate.to_params() | {"git_commit": "abc", "student_2.name": "x"}
    assert Candidate.from_params(params) == candidate


def test_the_order_of_arguments_does_not_change_the_hash():
    student = STUDENT.student
    turned = replace(student, arguments=dict(reversed(student.arguments.items())))
    other = Candidate(stages=(replace(STUDENT, student=turned),))
    assert other.hash == Candidate(stages=(STUDENT,)).hash


def test_another_learning_rate_gives_another_hash():
    training = replace(STUDENT.training, learning_rate=3.0000001e-4)
    other = Candidate(stages=(replace(STUDENT, training=training),))
    assert other.hash != Candidate(stages=(STUDENT,)).hash


def test_a_hash_is_the_same_on_every_machine():
    assert content_hash({"b": [1, 2.5], "a": None}) == content_hash({"a": None, "b": (1, 2.5)})
    assert content_hash({"a": 1}) == "015abd7f5cc57a2d"  # printf '{"a":1}' | sha256sum


def test_a_record_with_nan_has_no_hash():
    with pytest.raises(ValueError, match="JSON compliant"):
        content_hash([math.nan])


def test_the_last_stage_is_what_would_be_deployed_and_epochs_add_up():
    assistant = replace(STUDENT, name="assistant_1", student=replace(STUDENT.student, image_size=8))
    student = replace(STUDENT, teachers=("assistant_1",))
    candidate = Candidate(stages=(assistant, student))
    assert candidate.student == STUDENT.student
    assert candidate.epochs == 3  # the student's own
    assert candidate.describe_stages() == "T→A→S"
    both = replace(student, teachers=(TEACHER, "assistant_1"))
    assert Candidate(stages=(assistant, both)).describe_stages() == "T→A⇉S"


def test_a_candidate_without_teachers_is_described_as_learning_from_labels():
    alone = Candidate(stages=(replace(STUDENT, teachers=()),))
    assert alone.describe_stages() == "labels→S"
    assert alone.student.describe() == "resnet width=16 depth=1, 32 px"


@given(budgets, costs)
@settings(deadline=None)
def test_excess_is_at_most_zero_exactly_within_budget(budget, cost):
    for name, excess in budget.excess(cost).items():
        value = getattr(cost, name)
        assert (excess <= 0) == (value is None or value <= budget.limits[name])
    assert budget.admits(cost) == all(value <= 0 for value in budget.excess(cost).values())


@given(budgets, costs)
@settings(deadline=None)
def test_limits_and_excesses_are_listed_in_one_order(budget, cost):
    order = [name for name in COSTS if getattr(budget, name) is not None]
    assert list(budget.limits) == list(budget.excess(cost)) == order


def test_a_cost_of_twice_its_limit_exceeds_it_by_log_2_whatever_its_unit():
    budget = Budget(macs=COST.macs / 2, size_bytes=COST.size_bytes / 2)
    assert budget.excess(COST) == pytest.approx({"macs": math.log(2), "size_bytes": math.log(2)})


def test_a_cost_equal_to_its_limit_is_within_budget():
    assert Budget(macs=COST.macs, params=COST.params).admits(COST)


def test_a_latency_that_was_not_measured_is_not_over_budget():
    assert Budget(latency_ms=1e-9).excess(COST) == {"latency_ms": 0.0}


epochs = st.builds(
    Epoch,
    stage=names,
    epoch=st.integers(1, 99),
    train_loss=finite,
    val_loss=finite,
    val_accuracy=st.floats(0, 1),
    learning_rate=finite,
    seconds=finite,
)
results = st.builds(
    TrialResult,
    number=st.integers(0, 999),
    seed=st.integers(0, 2**31),
    candidate=candidates(),
    state=st.sampled_from(["complete", "rejected", "stopped", "failed"]),
    cost=st.none() | costs,
    excess=st.dictionaries(st.sampled_from(COSTS), finite),
    val=st.dictionaries(st.sampled_from(["accuracy", "loss"]), finite),
    history=st.lists(epochs, max_size=2).map(tuple),
    control=st.none() | texts,
    reason=st.none() | texts,
    folder=st.none() | texts,
    spent=st.dictionaries(names, finite),
)


@given(results)
@settings(deadline=None, max_examples=25)
def test_a_trial_result_comes_back_from_json(result):
    assert TrialResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
