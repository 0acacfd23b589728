"""Surveys of the space, the assistants chosen from them, the control trials, and how far a search is."""

from __future__ import annotations

import numpy as np
import pytest
from engine_records import (
    OBJECTIVES,
    SPACE,
    TEACHER_COST,
    TEACHER_INFO,
    made_up_cost,
    make_audit,
    result_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from autokd.engine.controls import control_proposals, crowding
from autokd.engine.ledger import Ledger
from autokd.engine.progress import Progress, find_front, search_hypervolume
from autokd.engine.scale import Scale
from autokd.engine.status import Board, load_status
from autokd.engine.survey import ASSISTANTS, survey
from autokd.errors import ConfigError
from autokd.records import TEACHER, Budget

BUDGET = Budget(macs=1_000_000)
SURVEY = survey(SPACE, made_up_cost, budget=BUDGET, seed=0, teacher_macs=TEACHER_COST.macs)


def test_a_survey_knows_the_exact_cost_of_each_student_and_whether_it_fits():
    assert SURVEY.sampled
    for sampled in SURVEY.sampled:
        assert sampled.cost == made_up_cost(sampled.spec)
        assert sampled.fits == (sampled.cost.macs <= 1_000_000)
    macs = [sampled.cost.macs for sampled in SURVEY.feasible]
    assert macs == sorted(macs)
    assert SURVEY.feasible_share == len(macs) / len(SURVEY.sampled)


def test_the_same_seed_surveys_the_same_students():
    again = survey(SPACE, made_up_cost, budget=BUDGET, seed=0, teacher_macs=TEACHER_COST.macs)
    other = survey(SPACE, made_up_cost, budget=BUDGET, seed=1, teacher_macs=TEACHER_COST.macs)
    assert again == SURVEY
    assert other != SURVEY


def test_a_survey_looks_further_until_something_fits():
    rare = Budget(macs=8_000)  # one of 72 architectures
    found = survey(SPACE, made_up_cost, budget=rare, seed=3)
    assert found.feasible
    assert all(sampled.cost.macs == 8_000 for sampled in found.feasible)


def test_a_budget_that_nothing_fits_is_answered_by_the_smallest_costs_found():
    impossible = Budget(macs=1_000, size_bytes=100)
    with pytest.raises(
        ConfigError,
        match=r"^budget: none of 512 sampled students fits it; smallest found: macs 8\.00k \(limit 1\.00k\), "
        r"size_bytes 3\.20 kB \(limit 100 B\)",
    ) as refused:
        survey(SPACE, made_up_cost, budget=impossible, seed=0)
    assert "raise the budget, or add smaller students" in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.integers(8_000, 12_000_000), st.integers(1, 2))
@settings(deadline=None)
def test_assistants_lie_between_student_and_teacher_dearest_first(student_macs, count):
    chosen = SURVEY.choose_assistants(student_macs, count)
    macs = [made_up_cost(spec).macs for spec in chosen]
    assert len(chosen) <= count
    assert len(set(macs)) == len(macs)
    assert macs == sorted(macs, reverse=True)
    assert all(student_macs < each < TEACHER_COST.macs for each in macs)


def test_all_trials_share_assistants_of_a_few_sizes():
    students = [sampled.cost.macs for sampled in SURVEY.sampled]
    chosen = [spec for macs in students for spec in SURVEY.choose_assistants(macs, 2)]
    assert len({spec.describe() for spec in chosen}) <= ASSISTANTS
    assert len(chosen) > len(students) / 2


def test_a_student_as_large_as_its_teacher_has_no_assistant():
    assert SURVEY.choose_assistants(TEACHER_COST.macs, 2) == []


def test_controls_are_the_ends_of_the_budget_with_and_without_distillation():
    controls = control_proposals(SPACE, SURVEY)
    assert [proposal.control for proposal in controls] == [
        "no distillation, large student",
        "plain KD, large student",
        "no distillation, small student",
        "plain KD, small student",
    ]
    large, large_kd, small, small_kd = [proposal.candidate for proposal in controls]
    assert large.student == large_kd.student == SURVEY.feasible[-1].spec
    assert small.student == small_kd.student == SURVEY.feasible[0].spec
    for alone, distilled in ((large, large_kd), (small, small_kd)):
        (stage,), (kd_stage,) = alone.stages, distilled.stages
        assert (stage.teachers, kd_stage.teachers) == ((), (TEACHER,))
        assert kd_stage.loss_weights == {"ce": 0.1, "kd": 0.9}
        assert kd_stage.temperature == 4.0
        assert stage.training == kd_stage.training


def test_it_is_said_where_controls_leave_few_trials_to_search_with():
    said = crowding(6, 7)
    assert said == "6 of 7 trials are controls; more trials leave more to search with"
    assert crowding(6, 12)
    assert crowding(6, 4).startswith("4 of 4 trials")
    assert crowding(6, 13) == ""


def test_a_control_holds_those_parameters_of_the_space_that_it_has_and_no_others():
    for proposal in control_proposals(SPACE, SURVEY):
        assert (
            proposal.params["students.resnet.width"]
            == proposal.candidate.student.arguments["width"]
        )
        assert "distill.temperature" not in proposal.params
        assert proposal.params.keys() <= SPACE.distributions.keys()


def scale_of(objectives) -> Scale:
    return Scale(objectives=objectives, teacher=TEACHER_INFO, classes=10)


def hypervolume_of(*results) -> float:
    return search_hypervolume(results, scale_of(OBJECTIVES))


def test_the_front_is_most_accurate_first_and_holds_complete_trials_alone():
    results = [
        result_of(0, width=8, accuracy=0.5),
        result_of(1, width=16, accuracy=0.4),  # beaten by 0
        result_of(2, width=32, accuracy=0.8),
        result_of(3, width=64, accuracy=0.99, state="stopped"),
        result_of(4, width=32, accuracy=0.8),  # no better than 2, which came first
    ]
    assert [r.number for r in find_front(results, OBJECTIVES)] == [2, 0]
    assert find_front([], OBJECTIVES) == ()


def test_a_student_beyond_a_limit_that_only_training_could_tell_is_not_on_the_front():
    wide = result_of(0, width=8, accuracy=0.9, excess={"gap_growth": 0.01})
    kind = result_of(1, width=8, accuracy=0.5, excess={"gap_growth": -0.01})
    assert [r.number for r in find_front([wide, kind], OBJECTIVES)] == [1]
    assert hypervolume_of(wide) == 0
    assert hypervolume_of(wide, kind) == hypervolume_of(kind) > 0


def test_the_worst_group_may_hold_a_student_on_the_front():
    names = ("val_accuracy", "worst_group_accuracy", "macs")
    even = result_of(0, width=8, accuracy=0.5, audit=make_audit(worst_group_accuracy=0.45))
    uneven = result_of(1, width=8, accuracy=0.6, audit=make_audit(worst_group_accuracy=0.2))
    assert [r.number for r in find_front([even, uneven], names)] == [1, 0]
    volume = search_hypervolume([even, uneven], scale_of(names))
    assert volume > search_hypervolume([uneven], scale_of(names)) > 0


accuracies = st.lists(st.tuples(st.sampled_from(range(8, 97, 8)), st.floats(0, 1)), max_size=8)


@given(accuracies)
@settings(deadline=None, max_examples=50)
def test_the_hypervolume_of_a_search_lies_between_0_and_1_and_only_grows(points):
    results = [result_of(i, width=w, accuracy=a) for i, (w, a) in enumerate(points)]
    volumes = [hypervolume_of(*results[:n]) for n in range(len(results) + 1)]
    assert volumes[0] == 0
    assert volumes == sorted(volumes) or np.allclose(volumes, np.maximum.accumulate(volumes))
    assert volumes[-1] <= 1 + 1e-12


def test_a_student_at_chance_or_as_dear_as_its_teacher_adds_nothing():
    assert hypervolume_of(result_of(0, accuracy=0.1)) == 0
    dear = result_of(0, accuracy=1.0)
    assert hypervolume_of(result_of(0, accuracy=1.0, cost=TEACHER_COST)) == 0
    assert hypervolume_of(dear) > 0


def test_a_perfect_student_of_a_hundredth_of_the_teachers_macs_fills_half_of_the_box():
    cost = TEACHER_COST.__class__(macs=TEACHER_COST.macs // 100, params=1, size_bytes=1)
    assert hypervolume_of(result_of(0, accuracy=1.0, cost=cost)) == pytest.approx(0.5)


def progress_of(*results, **changes) -> Progress:
    fields = {
        "results": results,
        "latest": None,
        "front": (),
        "hypervolume": 0.0,
        "target": 10,
        "seconds": 30.0,
        "running": (),
        "epochs": 0,
        "begun_before": 0,
        "time_limit": None,
    }
    return Progress(**(fields | changes))


def test_rejected_trials_do_not_count_towards_the_target_and_failed_ones_do():
    results = [result_of(i, state=s) for i, s in enumerate(("complete", "rejected", "failed"))]
    progress = progress_of(*results)
    assert progress.trained == 2
    assert sum(progress.counts[state] for state in ("rejected", "failed")) == 2


def test_the_time_left_follows_from_the_pace_of_this_run_and_from_the_limit():
    results = [result_of(i) for i in range(4)]
    assert progress_of(*results).seconds_left == pytest.approx(45)
    assert progress_of(*results, begun_before=1).seconds_left == pytest.approx(60)
    assert progress_of(*results, time_limit=40.0).seconds_left == pytest.approx(10)
    assert progress_of(*results, begun_before=4).seconds_left is None


def test_no_time_is_promised_when_all_trials_have_begun_and_some_may_go_on():
    assert progress_of(*(result_of(i) for i in range(10))).seconds_left is None


def test_the_active_search_is_the_one_that_was_trained_on_last(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    first, second = Ledger(url, "first"), Ledger(url, "second")
    Board(first).write(progress_of(), ended="6 trials")
    first.note("ended", "6 trials")
    Board(second).write(progress_of())
    again = Board(first)
    again.write(progress_of())
    again.write(progress_of(), ended="6 trials")
    assert load_status(url, None).study == "second", "the first was only looked at again"
    Board(first).write(progress_of(latest=result_of(0)))
    assert load_status(url, None).study == "first"
    first.close()
    second.close()
