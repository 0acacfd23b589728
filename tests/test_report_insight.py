"""The page of insight: true sentences, pictures that need no network, and words for what is not known."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from autokd.insight import Broken, Failure, Family, Growth, Importance, Importances, Insight
from autokd.report.insight.page import insight_html, insight_markdown
from autokd.report.insight.words import (
    closing_sentences,
    excess_in_words,
    growth_sentences,
    importance_sentences,
    opening_sentences,
    rejection_sentences,
    time_sentences,
)


def importance(parameter: str, share: float, chance: float) -> Importance:
    return Importance(
        parameter=parameter,
        share=share,
        spread=0.1,
        chance=chance,
        best_values="0.01 – 0.02",
        all_values="0.003 – 0.03",
    )


def growth(clock: float, epochs: int, trials: int, hypervolume: float) -> Growth:
    return Growth(clock=clock, epochs=epochs, trials=trials, hypervolume=hypervolume)


IMPORTANCES = Importances(
    students=60,
    best=15,
    epochs_share=1 / 3,
    parameters=(
        importance("train.learning_rate", 0.6, 0.3),
        importance("students.<model>", 0.3, 0.2),
        importance("distill.weight", 0.1, 0.4),
    ),
)
INSIGHT = Insight(
    study="mine-1a2b3c",
    objectives=("val_accuracy", "macs"),
    states={"complete": 10, "stopped": 50, "rejected": 20, "failed": 3},
    importances=IMPORTANCES,
    growth=(
        growth(0, 0, 0, 0.0),
        growth(30, 10, 2, 0.3),
        growth(60, 40, 20, 0.48),
        growth(390, 200, 55, 0.5),
        growth(400, 210, 60, 0.5),
    ),
    broken=(
        Broken(limit="macs", trials=20, alone=12, excess=math.log(2)),
        Broken(limit="gap_growth", trials=2, alone=2, excess=0.03),
        Broken(limit="memory", trials=1, alone=1, excess=None),
    ),
    families=(
        Family(model="resnet", proposed=60, rejected=5),
        Family(model="convnext", proposed=23, rejected=15),
    ),
    failures=(Failure(reason="student, epoch N: the loss became nan", trials=3),),
    worker_seconds={"train": 300.0, "audit": 98.0, "build": 2.0},
    driver_seconds={"wait": 390.0, "ask": 3.0, "log": 5.0},
)
NOTHING = Insight(
    study="new-1a2b3c",
    objectives=("val_accuracy", "worst_group_accuracy", "latency_ms"),
    states={},
    importances=Importances(students=0, best=0, epochs_share=1, missing="0 students are too few"),
    growth=(growth(0, 0, 0, 0.0), growth(0, 0, 0, 0.0)),
    broken=(),
    families=(),
    failures=(),
    worker_seconds={},
    driver_seconds={},
)


def test_the_page_loads_nothing_and_has_the_library_once():
    page = insight_html(INSIGHT)
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="', page)
    assert page.count("plotly.js v") == 1
    assert page.count("Plotly.newPlot(") == 5


def test_the_page_has_a_part_for_each_question_with_how_to_read_it():
    page = insight_html(INSIGHT)
    headings = re.findall(r"<h2>(.+?)</h2>", page)
    assert headings == [
        "What decides who gets to the front",
        "How the front grew",
        "What was rejected, and why",
        "Where the time went",
    ]
    assert page.count("How to read it") == 4


def test_names_of_the_users_do_no_harm_to_the_page_or_the_table():
    assert "students.&lt;model&gt;" in insight_html(INSIGHT)
    odd = replace(INSIGHT, failures=(Failure(reason="a | b", trials=1),))
    assert "| a / b | 1 |" in insight_markdown(odd)


def test_the_text_has_the_figures_of_the_page():
    text = insight_markdown(INSIGHT)
    assert text.startswith("# What the search mine-1a2b3c tells\n")
    assert "| train.learning_rate | 60% ± 10 | more | 0.01 – 0.02 | 0.003 – 0.03 |" in text
    assert "| distill.weight | 10% ± 10 | may be chance |" in text
    assert "| MACs | 20 | 12 | 2 times the limit |" in text
    assert "| student, epoch N: the loss became nan | 3 |" in text
    for sentence in opening_sentences(INSIGHT):
        assert sentence in text


def test_only_what_is_more_than_chance_is_said_to_matter():
    sentences = " ".join(importance_sentences(IMPORTANCES))
    assert (
        "train.learning_rate (60% ± 10 of all importance) and students.<model> (30% ± 10)"
        in sentences
    )
    assert "The other parameter can't be told from chance." in sentences
    none = replace(IMPORTANCES, parameters=IMPORTANCES.parameters[2:])
    assert importance_sentences(none) == [
        "No parameter can be told from chance: 60 students are too few, or none matters much."
    ]


def test_growth_says_when_the_front_was_nearly_there_and_what_came_late():
    first, near, late = growth_sentences(INSIGHT)
    assert first == "The hypervolume is 0.500 after 60 trials, 210 epochs and 6 min 40 s."
    assert near == "95% of that was reached with 20 trials, 40 epochs and 1 min 00 s."
    assert late.startswith("The last quarter of the time added 4.0% of it")
    assert late.endswith("the last gain came after 6 min 30 s.")


def test_a_summary_names_what_stands_out_and_a_front_that_still_grows():
    decides, grows = closing_sentences(INSIGHT)
    assert "train.learning_rate (the best: 0.01 – 0.02) and students.<model>" in decides
    assert grows.startswith("The front is still growing (4.0% in the last quarter of the time)")
    flat = replace(INSIGHT, growth=(*INSIGHT.growth[:3], growth(400, 210, 60, 0.48)))
    assert closing_sentences(replace(flat, importances=NOTHING.importances)) == []


def test_a_summary_says_when_training_waited_for_its_images():
    flat = (*INSIGHT.growth[:3], growth(400, 210, 60, 0.48))
    quiet = replace(INSIGHT, growth=flat, importances=NOTHING.importances)
    fast, slow = (replace(quiet, worker_seconds={"train": 90, "load": s}) for s in (9, 30))
    assert closing_sentences(fast) == []
    (sentence,) = closing_sentences(slow)
    assert sentence.startswith("Training waited for images 25% of its time: more data.loader_")


def test_rejections_are_told_by_the_limit_of_costs_and_the_gap_apart():
    sentences = rejection_sentences(INSIGHT)
    assert sentences == [
        "20 of 83 trials (24%) were over the budget and not trained.",
        "The limit that was broken most often is MACs: by 20, 12 of which broke no other.",
        "2 let the gap between groups grow too much, which is known after training alone.",
        "3 failed.",
    ]


@pytest.mark.parametrize(
    ("place", "words"),
    [(0, "2 times the limit"), (1, "3.0 points more than allowed"), (2, "not known")],
)
def test_an_excess_is_told_in_the_units_of_its_limit(place, words):
    assert excess_in_words(INSIGHT.broken[place]) == words


def test_time_tells_the_shares_of_workers_and_the_searchs_own_work_without_waiting():
    workers, own = time_sentences(INSIGHT)
    assert workers == "Workers were busy for 6 min 40 s: train students 75%, audit fairness 24%."
    assert own.endswith("took 8.0 s, 2.0% of that.")


def test_a_search_of_which_nothing_is_known_says_so_in_each_part():
    page, text = insight_html(NOTHING), insight_markdown(NOTHING)
    assert "Plotly.newPlot(" not in page.split("</head>")[1]
    for sentence in (
        "No trial has got anywhere yet.",
        "Importances are not shown: 0 students are too few.",
        "there is no front.",
        "Nothing has been proposed yet.",
        "No time has been recorded yet.",
    ):
        assert sentence in text
    assert "accuracy on val, accuracy of the worst group on val and latency" in text
    assert closing_sentences(NOTHING) == []
