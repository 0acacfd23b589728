"""Costs that a search remembers: each student's own, and counted once more when it is finished."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import replace

import pytest
from engine_records import TEACHER_COST, made_up_cost, result_of
from tiny_task import SMALL, candidate, make_data, make_task

from autokd.config import parse_config
from autokd.cost import exact_cost
from autokd.engine.ledger import Ledger, Proposal
from autokd.engine.recount import recount_students
from autokd.engine.survey import survey
from autokd.exporting.costs import Counted, count_again, describe_file
from autokd.exporting.formats import Leaving
from autokd.records import Budget
from autokd.shipped import COUNTED
from autokd.space import Space
from autokd.students import deployed
from autokd.task import StudentCosts
from autokd.teachers import build_student
from autokd.trial import run_trial

DATA = make_data()
CONFIG = parse_config(
    {
        "data": {"source": "digits"},
        "teacher": {"model": "resnet", "train": {}},
        "students": {
            "model": "resnet",
            "prune": [0.0, 0.5],
            "families": {"resnet": dict(SMALL.arguments) | {"width": [8, 16, 32]}},
        },
    },
    source="",
)
SPACE = Space(CONFIG, image_size=8)
ALL_WAYS = [
    replace(SMALL, pruned=pruned, precision=precision, image_size=size)
    for pruned, precision, size in itertools.product((0.0, 0.5), ("fp32", "int8"), (8, 16))
]


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, -1])
def test_shares_precisions_and_image_sizes_are_told_apart_in_whatever_order_they_come(order):
    costs = StudentCosts(DATA, SPACE)
    asked = {spec.describe(): costs(spec) for spec in ALL_WAYS[::order]}
    for spec in ALL_WAYS:
        alone = exact_cost(
            lambda spec=spec: deployed(build_student(spec, DATA)),
            (1, spec.image_size, spec.image_size),
            precision=spec.precision,
        )
        assert asked[spec.describe()] == alone
        assert costs(spec) == alone
    assert len({repr(cost) for cost in asked.values()}) == len(ALL_WAYS)


def test_what_is_pruned_is_an_assistant_of_the_size_that_it_has_whole():
    def cost(spec):
        known = made_up_cost(spec)
        return replace(known, macs=known.macs // 100) if spec.pruned else known

    found = survey(SPACE, cost, budget=Budget(), seed=0, teacher_macs=TEACHER_COST.macs)
    assert any(each.spec.pruned for each in found.sampled)
    whole = {each.spec.arguments["width"]: each.whole.macs for each in found.sampled}
    for spec in found.choose_assistants(min(whole.values()), 2):
        assert min(whole.values()) < whole[spec.arguments["width"]] < TEACHER_COST.macs


def test_a_record_that_is_not_its_finished_students_is_corrected_and_held_against_the_limit(
    tmp_path, caplog
):
    task = make_task(DATA, tmp_path, budget=Budget(macs=20_000))
    right = StudentCosts(DATA, SPACE)(SMALL)
    wrong = replace(right, macs=10_000, params=7)
    result = run_trial(
        candidate(epochs=1), task, number=3, seed=0, folder=tmp_path / "3", cost=wrong
    )
    assert result.state == "complete", result.reason
    assert (result.cost.macs, result.cost.params) == (right.macs, right.params)
    assert right.macs > 20_000
    assert not result.feasible
    assert "trial 3: its student has macs " in caplog.text
    assert "instead of 10.0k, params " in caplog.text


def test_a_right_record_is_left_as_it_is(tmp_path, caplog):
    task = make_task(DATA, tmp_path)
    right = StudentCosts(DATA, SPACE)(SMALL)
    result = run_trial(
        candidate(epochs=1), task, number=3, seed=0, folder=tmp_path / "3", cost=right
    )
    assert result.cost == right
    assert "instead of" not in caplog.text


def test_wrong_costs_in_an_old_ledger_are_corrected_when_its_search_ends(tmp_path, caplog):
    task = make_task(DATA, tmp_path, budget=Budget(macs=20_000))
    right = StudentCosts(DATA, SPACE)(SMALL)
    url = f"sqlite:///{tmp_path}/ledger.db"
    wrong = replace(right, macs=10_000, latency_ms=1.5)
    done = result_of(0, state="complete", cost=wrong, excess=task.excess(wrong))
    with closing(Ledger(url, "s")) as book:
        book.add(Proposal(candidate=candidate(epochs=1), params={}))
        book.record(done)
        assert book.results[0].feasible
        recount_students(book, lambda spec: right, task)
    with closing(Ledger(url, "s")) as book:
        (result,) = book.results
        assert result.cost == replace(right, latency_ms=1.5)
        assert not result.feasible
        caplog.clear()
        recount_students(book, lambda spec: right, task)
        assert not caplog.records


def test_an_export_says_where_the_record_is_not_what_the_weights_are(tmp_path):
    task = make_task(DATA, tmp_path)
    folder = tmp_path / "3"
    wanted = candidate(epochs=1)
    result = run_trial(wanted, task, number=3, seed=0, folder=folder)
    leaving = Leaving(
        stage=wanted.stages[-1], folder=folder, data=DATA, precision="fp32", normalise=True,
        source="trial 3",
    )  # fmt: skip
    facts = {"cost/macs": float(result.cost.macs), "cost/params": 7.0, "autokd.audit": "pass"}
    found = count_again(leaving, facts, Budget(macs=20_000))
    assert found.costs == {name: getattr(result.cost, name) for name in COUNTED}
    right = found.correct(facts)
    assert (right["cost/params"], right["autokd.audit"]) == (result.cost.params, "pass")
    differs, over = found.problems
    assert (
        differs
        == "costs: has params 20.0k instead of 7 that its record says; the model card is right"
    )
    assert over.startswith("costs: over budget: macs ")
    assert count_again(leaving, right, Budget()).problems == ()


@pytest.mark.parametrize(
    ("limit", "said"), [(None, False), (99, False), (100, True), (119, True), (120, False)]
)
def test_a_file_above_a_limit_that_its_weights_keep_is_said(limit, said):
    counted = Counted(costs={"size_bytes": 100.0}, problems=())
    note = describe_file(120, counted, Budget(size_bytes=limit))
    assert bool(note) is said
    if note:
        assert note.startswith("The file's 120 B are above the limit of ")
