"""The report: the front as a table, a picture that needs no network, and a few true sentences."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from engine_records import (
    OBJECTIVES,
    TEACHER_COST,
    TEACHER_INFO,
    make_audit,
    make_member,
    result_of,
)

from autokd.console.watch import describe_trial
from autokd.engine.progress import Progress, find_front
from autokd.engine.scale import Scale
from autokd.records import REMEASURED, AssistantInfo, Budget, Candidate, Cost, Epoch, Remeasured
from autokd.report.card import card as card_of
from autokd.report.change import worst_change_html
from autokd.report.frame import COLUMNS, front_frame, front_page, stored_front
from autokd.report.parallel import _axis, parallel_html
from autokd.report.plot import pareto_html
from autokd.report.words import summarise
from autokd.tracking.trial_run import trial_points, trial_tags

TEACHER = replace(TEACHER_INFO, cost=replace(TEACHER_COST, latency_ms=3.0))


def costing(macs: int) -> Cost:
    return Cost(macs=macs, params=macs // 10, size_bytes=macs // 2, latency_ms=macs / 1e6)


def without_teacher(number: int, **changes):
    result = result_of(number, **changes)
    alone = replace(result.candidate.stages[0], teachers=(), loss_weights={"ce": 1.0})
    return replace(result, candidate=replace(result.candidate, stages=(alone,)))


RESULTS = (
    without_teacher(
        0, width=32, accuracy=0.72, cost=costing(2_000_000),
        control="no distillation, large student",
    ),
    result_of(
        1, width=32, accuracy=0.75, cost=costing(2_000_000), control="plain KD, large student"
    ),
    without_teacher(
        2, width=8, accuracy=0.45, cost=costing(100_000), control="no distillation, small student"
    ),
    result_of(3, width=8, accuracy=0.44, cost=costing(100_000), control="plain KD, small student"),
    result_of(
        4, width=16, accuracy=0.63, cost=costing(500_000),
        assistants=(AssistantInfo(student="resnet", cost=costing(700_000), val_accuracy=0.8),),
    ),
    result_of(5, width=96, state="rejected", cost=costing(9_000_000), val={}, reason="over budget"),
    result_of(6, width=24, state="failed", cost=None, val={}, reason="student, epoch 1: the loss"),
    result_of(7, width=24, accuracy=0.2, state="stopped", cost=costing(900_000)),
)  # fmt: skip
FRONT = find_front(RESULTS, OBJECTIVES)
MEMBERS = (make_member(1),)
HARMED = make_audit(status="fail", worst_change=-0.192, worst_change_group="site=C")


def test_the_front_of_the_example_is_what_it_is_by_hand():
    assert [result.number for result in FRONT] == [1, 4, 2]


def test_the_table_has_one_row_a_student_most_accurate_first():
    frame = front_frame(FRONT, TEACHER, MEMBERS)
    assert tuple(frame.columns) == COLUMNS
    assert frame["trial"].tolist() == [1, 4, 2]
    assert frame["rank"].tolist() == [1, 2, 3]
    assert frame["stages"].tolist() == [
        "T→S",
        "T→S",
        "labels→S",
    ]
    assert frame["accuracy_share"].tolist() == pytest.approx([0.75 / 0.9, 0.7, 0.5])
    assert frame["macs_share"].tolist() == pytest.approx([0.2, 0.05, 0.01])
    assert frame["test_accuracy"][0] == 0.7
    assert frame["teacher_test_accuracy"][0] == 0.76
    assert frame.loc[1:, ["test_accuracy", "teacher_test_accuracy"]].isna().all(axis=None)


def test_a_search_without_a_front_has_an_empty_table():
    assert tuple(front_frame([], TEACHER, []).columns) == COLUMNS


def stored_trials() -> pd.DataFrame:
    rows = [
        {
            "number": r.number,
            "state": r.state,
            "student": r.candidate.student.describe(),
            "stages": r.candidate.describe_stages(),
            "val_accuracy": r.val.get("accuracy"),
            "test_accuracy": None,
            "teacher_test_accuracy": None,
            "worst_group_accuracy": None,
            "worst_change": None,
            "gap_growth": None,
            "audit": None,
            "undecided": None,
            "test_undecided": None,
            "test_audit": None,
            **dict.fromkeys(REMEASURED),
            "feasible": True,
            "macs": r.cost.macs if r.cost else None,
            "params": r.cost.params if r.cost else None,
            "latency_ms": r.cost.latency_ms if r.cost else None,
            "size_bytes": r.cost.size_bytes if r.cost else None,
            "activation_bytes": None,
        }
        for r in RESULTS
    ]
    return pd.DataFrame(rows)


def test_the_table_from_a_store_is_the_table_of_the_search():
    stored = stored_front(
        stored_trials(), OBJECTIVES, {"val_accuracy": "0.9", "macs": str(TEACHER_COST.macs)}
    )
    own = front_frame(FRONT, TEACHER, [])
    for column in ("rank", "trial", "student", "stages"):
        assert stored[column].tolist() == own[column].tolist()
    for column in ("val_accuracy", "macs", "params", "latency_ms", "accuracy_share", "macs_share"):
        assert stored[column].tolist() == pytest.approx(own[column].tolist())


def test_a_teacher_that_is_never_right_has_no_shares_and_a_report_all_the_same():
    cost = replace(TEACHER.cost, macs=0)
    wrong = replace(TEACHER, val_accuracy=0.0, cost=cost)
    frame = front_frame(FRONT, wrong, MEMBERS)
    stored = stored_front(stored_trials(), OBJECTIVES, {"val_accuracy": "0.0", "macs": "0"})
    for table in (frame, stored):
        assert table["accuracy_share"].isna().all()
        assert table["macs_share"].isna().all()
        assert "63.0%" in front_page(table, "wrong")
    assert (
        "The most accurate has a val accuracy of 75.0% (the teacher: 0.0%) at 2.00M MACs (the teacher: 0)."
        in summarise(RESULTS, FRONT, wrong)
    )
    assert "val accuracy 75.00%" in pareto_html(
        RESULTS, FRONT, wrong, Budget(), title="wrong", pages={}
    )
    scale = Scale(objectives=("val_accuracy", "macs"), teacher=wrong, classes=4)
    assert np.isfinite(scale.points(FRONT)).all()


def picture(budget: Budget | None = None) -> tuple[str, list]:
    """The page, and the data that it draws."""
    html = pareto_html(
        RESULTS, FRONT, TEACHER, budget or Budget(macs=3e6),
        title="glasses-1a2b", pages={1: "http://127.0.0.1:5000/#/runs/one"},
    )  # fmt: skip
    data = re.search(r'Plotly\.newPlot\(\s*"[^"]+",\s*(\[.*?\]),\s*\{"template"', html, re.DOTALL)
    assert data is not None
    return html, json.loads(data[1])


def test_the_picture_is_one_page_that_loads_nothing():
    html, _ = picture()
    assert "glasses-1a2b" in html
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', html)


def test_the_picture_shows_front_controls_dominated_teacher_and_budget():
    _, traces = picture()
    shown = {trace["name"]: trace for trace in traces if trace["visible"]}
    drawn = {name for name, trace in shown.items() if trace.get("x")}
    assert drawn == {
        "rejected (1)", "stopped early (1)", "dominated (1)", "assistant (1)", "no distillation (2)",
        "Pareto front (3)", "teacher", "budget, 3.00M",
    }  # fmt: skip
    assert "trial 1: resnet" in " ".join(shown["Pareto front (3)"]["text"])


def test_what_was_never_trained_lies_along_the_lower_edge():
    html, traces = picture()
    (rejected,) = (t for t in traces if t["visible"] and t["name"] == "rejected (1)")
    accuracies = [result.val["accuracy"] for result in RESULTS if result.state == "complete"]
    assert rejected["y"][0] < min(accuracies)
    assert f'"range":[{rejected["y"][0]},' in html
    assert "not trained" in rejected["text"][0]


def to_be_pruned(number: int, *, state: str = "stopped", stage: str = "student", **changes):
    """After an epoch of one of the stages of a student that half of is pruned."""
    result = result_of(number, state=state, cost=costing(50_000), accuracy=0.48, **changes)
    (student,) = result.candidate.stages
    spec = replace(student.student, pruned=0.5)
    prune = replace(student, name="prune", student=spec, start_from="student")
    epoch = Epoch(
        stage=stage, epoch=1, train_loss=1.0, val_loss=1.0, val_accuracy=0.48, learning_rate=0.01, seconds=1.0
    )  # fmt: skip
    return replace(result, candidate=Candidate(stages=(student, prune)), history=(epoch,))


def test_an_accuracy_before_pruning_is_not_drawn_at_the_cost_after_it():
    whole, pruned = to_be_pruned(8), to_be_pruned(9, stage="prune")
    assert (whole.before_pruning, whole.own_accuracy) == (True, None)
    assert (pruned.before_pruning, pruned.own_accuracy) == (False, 0.48)
    html = pareto_html((*RESULTS, whole, pruned), FRONT, TEACHER, Budget(), title="s", pages={})
    assert "trial 9: resnet" in html
    assert "trial 8: resnet" not in html
    assert "Not shown: 1 that were stopped before they were pruned" in html
    assert "before they were pruned" not in picture()[0]


def test_the_page_of_changes_leaves_out_what_is_to_be_pruned_yet():
    audited = to_be_pruned(8, audit=HARMED), result_of(1, audit=HARMED)
    html = worst_change_html(audited, FRONT, title="s")
    assert "Not shown: 1 that were stopped before they were pruned" in html
    assert "trial 8" not in html


def test_a_card_says_that_its_accuracy_is_from_before_the_pruning():
    (line, *_) = card_of(to_be_pruned(8), TEACHER, None)["lines"]
    assert line.startswith("val accuracy before it was pruned, 48.00%")


def test_mlflow_has_an_accuracy_before_pruning_under_a_name_of_its_own():
    metrics = {point.key: point.value for point in trial_points(to_be_pruned(8))}
    assert metrics["before_pruning/accuracy"] == 0.48
    assert "val/accuracy" not in metrics
    assert "those of what pruning would leave" in trial_tags(to_be_pruned(8))["mlflow.note.content"]
    assert "val/accuracy" in {point.key for point in trial_points(to_be_pruned(9, stage="prune"))}


def test_progress_says_that_a_student_is_pruned_later():
    progress = Progress(
        results=(), latest=to_be_pruned(8), running=(), front=(), hypervolume=0.0, target=9,
        epochs=1, seconds=1.0, begun_before=0, time_limit=None,
    )  # fmt: skip
    assert "val 48.00% before it is pruned to 50.0k MACs" in describe_trial(progress)
    later = replace(progress, latest=to_be_pruned(9, stage="prune"))
    assert "val 48.00%, 50.0k MACs" in describe_trial(later)


def test_a_click_on_a_point_finds_its_card_and_its_run():
    html, traces = picture()
    cards = json.JSONDecoder().raw_decode(html, html.index("cards = {") + len("cards = "))[0]
    for trace in traces[:8]:
        assert len(cards[trace["meta"]]) == len(trace["x"])
        for text, card in zip(trace["text"], cards[trace["meta"]], strict=True):
            what = text.split("<b>")[1].split("</b>")[0]
            assert card["title"].split(": ", 1)[1] == what.split(": ", 1)[1]
    (best,) = (c for c in cards["Pareto front"] if c["title"].startswith("trial 1,"))
    assert best["page"] == "http://127.0.0.1:5000/#/runs/one"
    assert "control: plain KD, large student" in best["lines"]


def test_what_a_name_holds_does_not_end_the_script():
    evil = replace(RESULTS[1], reason="</script><b>")
    html = pareto_html([evil], [evil], TEACHER, Budget(), title="t", pages={})
    assert "</script><b>" not in html


def test_the_picture_can_be_switched_to_every_cost_that_was_measured():
    html, traces = picture()
    for title in ("MACs of one image", "parameters", "latency at batch 1", "file size"):
        assert title in html
    assert len(traces) == 4 * sum(trace["visible"] for trace in traces)


def test_a_cost_without_a_limit_has_no_budget_line():
    _, traces = picture(Budget(params=1e6))
    names = [trace["name"] for trace in traces]
    assert sum(name.startswith("budget") for name in names) == 1
    assert names.count("no budget for this cost") == 3


def test_the_summary_says_what_a_teacher_and_what_a_start_brought_each_by_controls_that_differ_in_it_alone():
    controls = [
        result_of(0, accuracy=0.60, control="no distillation, heir, large student"),
        result_of(1, accuracy=0.63, control="plain KD, heir, large student"),
        result_of(2, accuracy=0.45, control="no distillation, random weights, large student"),
    ]
    said = summarise(controls, controls[1:2], TEACHER)
    assert "changed the control students by +3.0 points for the large one (one seed each)." in said
    assert said.endswith(
        "Starting as heirs of published weights changed those without distillation by +15.0 points for the large one "
        "(one seed each); what the donor was trained before comes on top."
    )


def test_the_summary_counts_compares_both_ends_and_says_what_distillation_gained():
    assert summarise(RESULTS, FRONT, TEACHER) == (
        "5 students trained to their end (1 stopped early, 1 rejected untrained, 1 failed); 3 within budget and beaten by no other. "
        "The most accurate keeps 83.3% of the teacher's val accuracy at 20.0% of its MACs (2.00M). "
        "The smallest keeps 50.0% of the teacher's val accuracy at 1.0% of its MACs (100k). "
        "Plain distillation changed the control students by +3.0 points for the large one and "
        "-1.0 points for the small one (one seed each)."
    )


def test_a_search_without_a_front_says_so():
    assert summarise(RESULTS[5:], (), TEACHER) == (
        "0 students trained to their end (1 stopped early, 1 rejected untrained, 1 failed); none finished, so there is no front yet."
    )


@pytest.mark.parametrize(
    ("accuracy", "macs", "said"),
    [
        (0.85, 2_000_000, "keeps 94.4% of the teacher's val accuracy at 20.0% of its MACs (2.00M)."),
        (0.9, 10_000_000, "keeps 100.0% of the teacher's val accuracy at as many MACs (10.0M)."),
        (0.45, 15_000_000, "keeps 50.0% of the teacher's val accuracy at 1.5 times its MACs (15.0M)."),
        (0.95, 10_000_000, "beats the teacher (val 95.0% against 90.0%) at as many MACs (10.0M)."),
        (0.0, 2_000_000, "keeps 0.0% of the teacher's val accuracy at 20.0% of its MACs (2.00M)."),
    ],
)  # fmt: skip
def test_a_student_is_held_against_its_teacher_in_words_that_read_right(accuracy, macs, said):
    result = replace(RESULTS[4], val={"accuracy": accuracy, "loss": 1.0}, cost=costing(macs))
    assert f"The most accurate {said}" in summarise([result], [result], TEACHER)


def test_one_student_is_no_students():
    assert summarise(RESULTS[4:5], RESULTS[4:5], TEACHER).startswith(
        "1 student trained to its end; 1 within budget"
    )


def test_a_front_of_one_is_both_its_ends():
    summary = summarise(RESULTS[4:5], RESULTS[4:5], TEACHER)
    assert "The smallest" not in summary
    assert "The most accurate keeps 70.0%" in summary
    assert "distillation" not in summary


def test_the_page_of_the_front_needs_nothing_else_and_reads_like_the_table():
    frame = front_frame(FRONT, TEACHER, MEMBERS)
    page = front_page(frame, "front of <mine>")
    assert page.startswith("<!doctype html>")
    assert "front of &lt;mine&gt;" in page
    assert "<td>2.00M</td>" in page
    assert "<td>70.0%</td>" in page
    assert "nan" not in page.lower()
    assert not re.search(r"(src|href)=", page)


def test_the_table_has_the_audits_of_val_and_test():
    audited = [replace(result, audit=make_audit()) for result in FRONT]
    members = [make_member(4, rank=2, status="fail")]
    frame = front_frame(audited, TEACHER, members)
    assert frame["audit"].tolist() == ["pass", "pass", "pass"]
    assert frame["test_audit"].fillna("").tolist() == ["", "fail", ""]
    assert frame["worst_group_accuracy"].tolist() == [0.6, 0.6, 0.6]


def test_the_summary_counts_verdicts_and_names_who_lost_most_on_val_while_nothing_is_tested():
    audited = [replace(FRONT[0], audit=make_audit()), replace(FRONT[1], audit=HARMED), FRONT[2]]
    assert summarise(RESULTS, audited, TEACHER).endswith(
        "Fairness of the front on val: 1 pass, 1 fail. site=C loses most: 19.2 points in trial 4."
    )


def test_the_verdicts_of_test_take_the_place_of_those_of_val():
    audited = [replace(result, audit=HARMED) for result in FRONT]
    members = [make_member(r.number, worst_change=0.0) for r in FRONT]
    assert summarise(RESULTS, audited, TEACHER, members).endswith(
        "Fairness of the front on test: 3 pass."
    )


def test_an_accepted_bias_is_said_with_its_reason():
    summary = summarise(RESULTS, FRONT, TEACHER, accepted_bias="a pilot without users")
    assert summary.endswith("The teacher's bias was accepted: a pilot without users")


def test_a_search_whose_students_all_widen_the_gap_says_so():
    assert summarise(RESULTS, (), TEACHER).endswith(
        "none kept the gap between groups within audit.max_gap_growth, so there is no front."
    )


AGAIN = Remeasured(seeds=4, val_mean=0.70, val_std=0.02, test_mean=0.68, test_std=0.04, shrink=0.05)


def test_the_table_has_mean_and_spread_of_further_seeds_where_there_are_some():
    members = [replace(make_member(1), again=AGAIN)]
    frame = front_frame(FRONT, TEACHER, members)
    assert frame["seeds"].fillna(0).tolist() == [4, 0, 0]
    assert frame["val_mean"].tolist()[0] == 0.70
    assert frame["test_std"].tolist()[0] == 0.04
    assert frame[list(REMEASURED)][1:].isna().all().all()


def test_the_summary_says_how_much_of_the_chosen_accuracy_is_left():
    shrinks = (0.05, -0.01, 0.02)
    members = [
        replace(make_member(r.number), again=replace(AGAIN, shrink=shrink))
        for r, shrink in zip(FRONT, shrinks, strict=True)
    ]
    assert (
        "Trained again from 4 further seeds, the front's val accuracy is -2.0 points from what it was chosen by "
        "(-5.0 to +1.0)." in summarise(RESULTS, FRONT, TEACHER, members)
    )


def test_what_distillation_gains_is_told_over_all_seeds_with_its_standard_error():
    numbers = {r.control: r.number for r in RESULTS if r.control}
    again = {
        numbers["plain KD, large student"]: AGAIN,
        numbers["no distillation, large student"]: replace(AGAIN, val_mean=0.66, val_std=0.0),
    }
    summary = summarise(RESULTS, FRONT, TEACHER, again=again)
    assert "by +4.0 ± 1.0 points for the large one" in summary  # 0.02 / sqrt(4)


def test_the_page_of_changes_shows_verdict_and_change_of_every_audited_trial():
    audited = [replace(RESULTS[1], audit=make_audit()), replace(RESULTS[4], audit=HARMED)]
    html = worst_change_html([*audited, *RESULTS[5:]], audited[:1], title="glasses <1a2b>")
    assert "pass (1)" in html
    assert "fail (1)" in html
    assert "site=C: -19.2 points against the teacher" in html
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', html)


def test_the_page_of_changes_explains_its_signs_even_where_all_verdicts_are_alike():
    audited = [replace(RESULTS[1], audit=HARMED), replace(RESULTS[4], audit=HARMED)]
    html = worst_change_html(audited, audited[:1], title="glasses")
    assert "fail (2)" in html
    assert '"showlegend":true' in html


def test_the_page_of_changes_counts_those_of_which_no_group_could_be_judged():
    small = make_audit(status="undecided", worst_change=None)
    shown, left_out = replace(RESULTS[1], audit=HARMED), replace(RESULTS[4], audit=small)
    said = "Not shown: 1 none of whose groups has images enough to judge"
    assert said in worst_change_html([shown, left_out], [shown], title="glasses")
    assert said in worst_change_html([left_out], [], title="glasses")


def test_the_page_of_changes_without_an_audited_trial_is_still_a_page():
    assert "glasses" in worst_change_html(RESULTS, FRONT, title="glasses")


def lines_page(results=RESULTS) -> tuple[str, list]:
    """The page of parallel coordinates, and its axes."""
    html = parallel_html(results, FRONT, OBJECTIVES, title="glasses")
    data = re.search(r'Plotly\.newPlot\(\s*"[^"]+",\s*(\[.*?\]),\s*\{"template"', html, re.DOTALL)
    assert data is not None
    return html, json.loads(data[1])


def test_every_student_that_was_trained_to_its_end_is_a_line_through_what_differs():
    html, (trace,) = lines_page()
    axes = {axis["label"]: axis for axis in trace["dimensions"]}
    assert axes.keys() == {"width", "loss weights ce", "stages", "MACs", "val accuracy"}
    complete = [result for result in RESULTS if result.state == "complete"]
    assert axes["val accuracy"]["values"] == [r.val["accuracy"] for r in complete]
    stages = [axes["stages"]["ticktext"][n] for n in axes["stages"]["values"]]
    assert stages == [r.candidate.describe_stages() for r in complete]
    assert trace["line"]["color"] == [float(r in FRONT) for r in complete]
    assert "5 students, the 3 of the front in red" in html


def test_numbers_at_an_axis_have_four_digits():
    assert _axis("width", ["2.08319458888", "16"])["ticktext"] == ["2.083", "16"]


def test_costs_are_logarithmic_axes_with_their_units():
    _, (trace,) = lines_page()
    axis = next(axis for axis in trace["dimensions"] if axis["label"] == "MACs")
    assert [10**value for value in axis["values"]] == pytest.approx([2e6, 2e6, 1e5, 1e5, 5e5])
    assert (axis["ticktext"][0], axis["ticktext"][-1]) == ("100k", "2.00M")


def test_without_a_finished_student_the_page_says_so():
    html = parallel_html(RESULTS[5:], (), OBJECTIVES, title="glasses")
    assert "No student was trained to its end" in html
