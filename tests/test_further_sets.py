"""A finished front on further labelled sets (data.also_test): asked once, told everywhere, and of no weight in any choice."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from dataclasses import asdict, replace

import pandas as pd
import pytest
from engine_records import OBJECTIVES, TEACHER_INFO, make_audit, result_of
from tiny_task import candidate, make_data, make_split, make_task
from tracking_records import GROWTH, begin, make_info, make_report, trial_runs

from autokd.config import override_config, parse_config
from autokd.console.front import print_front, print_stored_front
from autokd.data.split import FurtherSet
from autokd.engine.conclusion import ALSO_TEST, TEST, conclude
from autokd.engine.finish import ask_further_sets, describe_rest
from autokd.engine.identity import UNIMPORTANT, identify
from autokd.engine.ledger import Ledger, Proposal
from autokd.engine.scale import Scale
from autokd.errors import DataError, TrackingError
from autokd.evaluation import predict, score
from autokd.exporting.card import further_in
from autokd.on_test import evaluate_on_test
from autokd.records import ALSO_COLUMNS, FrontMember, Places, Verdict, also_column
from autokd.report.frame import COLUMNS, front_frame, front_page, stored_front
from autokd.report.front import front_markdown
from autokd.report.words import summarise
from autokd.tracking.find import find_audit
from autokd.tracking.read import read_study
from autokd.trial import run_trial

pytestmark = pytest.mark.usefixtures("quick_latency")


def further(count=24, *, seed=5, grouped=False, classes=4):
    split = make_split(count, seed=seed, grouped=grouped)
    split = replace(split, labels=split.labels % classes)
    ids = tuple(f"{number}.png" for number in range(count))
    return FurtherSet(split=split, ids=ids, hash=f"{seed} {count}", join=None, notes=())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A task with two further sets, a student that was trained to its end, and its ledger."""
    cache = tmp_path_factory.mktemp("cache")
    data = replace(make_data(), also_test={"night": further(), "fog": further(16, classes=2)})
    task = make_task(data, cache)
    result = run_trial(candidate(), task, number=0, seed=1, folder=cache / "0")
    assert result.state == "complete", result.reason
    return task, result


@pytest.fixture
def ledger(done, tmp_path):
    with closing(Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", "search")) as book:
        book.add(Proposal(candidate=done[1].candidate, params={}))
        book.record(done[1])
        yield book


def test_a_student_is_measured_and_audited_against_its_teacher_on_the_set(done):
    task, result = done
    verdict = evaluate_on_test(result, task, on="night")
    folder = task.cache / "0" / "also_test_night_audit"
    record = json.loads((folder / "audit.json").read_text())
    split = task.data.also_test["night"].split
    teacher = predict(task.teacher.model, split, inputs=task.teacher.inputs, device=task.device)
    assert verdict.teacher_accuracy == score(teacher, split.labels).accuracy
    assert verdict.report == str(folder)
    assert (verdict.images, verdict.data_hash) == (24, task.data.also_test["night"].hash)
    assert verdict.accuracy == record["overall"]["student"]["accuracy"]
    assert record["overall"]["teacher"]["ece15_l1"] is not None
    assert record["data"]["split"] == "night"
    assert record["generalisation"] is None
    assert "chose nothing" in (folder / "audit.md").read_text()
    assert Verdict.from_dict(json.loads(json.dumps(asdict(verdict)))) == verdict


def test_a_set_without_some_classes_is_judged_by_those_it_has(done):
    task, result = done
    verdict = evaluate_on_test(result, task, on="fog")
    assert 0 <= verdict.accuracy <= 1
    assert verdict.audit.worst_change_group in {"class=a", "class=b", None}


def test_groups_that_audits_require_are_not_asked_of_a_set_that_lacks_them(tmp_path):
    data = replace(make_data(grouped=True), also_test={"night": further()})
    task = make_task(data, tmp_path)
    task = replace(task, policy=replace(task.policy, required=("site=A",)))
    result = run_trial(candidate(), task, number=0, seed=1, folder=tmp_path / "0")
    assert evaluate_on_test(result, task, on="night").images == 24


def test_test_itself_says_what_it_said(done):
    task, result = done
    verdict = evaluate_on_test(result, task)
    assert verdict.report.endswith("test_audit")
    assert (verdict.images, verdict.data_hash) == (40, None)
    old = {k: v for k, v in asdict(verdict).items() if k in ("accuracy", "loss", "audit", "report")}
    assert Verdict.from_dict(old).accuracy == verdict.accuracy


def test_each_student_is_asked_once_and_again_where_a_set_has_changed(done, ledger, caplog):
    task, result = done
    hashes = {name: each.hash for name, each in task.data.also_test.items()}
    rest = describe_rest(ledger, OBJECTIVES, models=False, also_test=hashes)
    assert "test of the front (1), its test on night (1), its test on fog (1), the report" in rest
    with caplog.at_level(logging.INFO, "autokd"):
        ask_further_sets([result], task, ledger)
        assert "trial 0 on night" in caplog.text
        known = ledger.notes[ALSO_TEST]
        assert known["0"].keys() == {"night", "fog"}
        caplog.clear()
        ask_further_sets([result], task, ledger)
        assert caplog.text == ""
        changed = replace(
            task, data=replace(task.data, also_test={"night": further(20)}), memory={}
        )
        ask_further_sets([result], changed, ledger)
        assert "trial 0 on night" in caplog.text
    assert ledger.notes[ALSO_TEST]["0"]["fog"] == known["0"]["fog"]
    assert ledger.notes[ALSO_TEST]["0"]["night"]["images"] == 20
    rest = describe_rest(ledger, OBJECTIVES, models=False, also_test=hashes)
    assert "its test on night (1), the report" in rest


def test_a_set_that_has_gone_at_the_end_takes_nothing_else_with_it(done, ledger, caplog):
    task, result = done

    class Gone:
        def __len__(self):
            return 24

        def __getitem__(self, index):
            raise DataError("night/1.png: was there when its folder was read, and is gone")

    gone = further()
    gone = replace(gone, split=replace(gone.split, images=Gone()))
    sets = {"dusk": gone, "fog": task.data.also_test["fog"]}
    ask_further_sets([result], replace(task, data=replace(task.data, also_test=sets)), ledger)
    assert "data.also_test.dusk: night/1.png: was there" in caplog.text
    assert ledger.notes[ALSO_TEST]["0"].keys() == {"fog"}


def test_an_earlier_search_takes_sets_that_come_later_and_stays_what_it_was(done):
    record = {
        "data": {"source": "digits"},
        "teacher": {"model": "resnet", "train": {"epochs": 1}},
        "students": {"model": "resnet"},
    }
    before = parse_config(record, source="")
    after = override_config(before, {"data": {"also_test": {"night": "somewhere"}}})
    assert after != before
    assert identify(before, done[0].data) == identify(after, done[0].data)
    assert "also_test" in UNIMPORTANT["data"]


def members_of(verdicts):
    test = Verdict(accuracy=0.7, loss=1.0, audit=make_audit(), report="test")
    return [FrontMember(number=0, rank=1, verdict=test, also=verdicts)]


NIGHT = Verdict(
    accuracy=0.5, loss=2.0, audit=make_audit(status="fail", worst_group_accuracy=0.3),
    report="night", teacher_accuracy=0.625, images=40, data_hash="abc",
)  # fmt: skip
MEMBERS = members_of({"night": NIGHT, "fog": replace(NIGHT, accuracy=0.6, data_hash="def")})
RESULT = result_of(0, accuracy=0.8)


def test_the_table_has_columns_of_each_set_behind_all_others():
    frame = front_frame([RESULT], TEACHER_INFO, MEMBERS)
    assert tuple(frame.columns)[: len(COLUMNS)] == COLUMNS
    assert tuple(frame.columns)[len(COLUMNS) :] == tuple(
        also_column(name, key) for name in ("night", "fog") for key in ALSO_COLUMNS
    )
    row = frame.iloc[0]
    assert [row[also_column("night", key)] for key in ALSO_COLUMNS] == [0.5, 0.625, 0.3, "fail"]
    assert "<td>62.5%</td>" in front_page(frame, "title")
    assert "seeds" not in front_page(frame, "title")  # nor any other column that is empty
    assert tuple(front_frame([RESULT], TEACHER_INFO, members_of({})).columns) == COLUMNS


def test_the_report_tells_accuracy_and_verdict_beside_the_teacher_s():
    places = Places(address="", view="v", run="r", report="{}", trials={0: "p"})
    text = front_markdown([RESULT], MEMBERS, make_info(), places, summary="")
    assert "| on night (teacher 62.50%) | on fog (teacher 62.50%) |" in text
    assert "| 50.00%, fail | 60.00%, fail |" in text
    assert "val 80.0%, test 70.0%, on night 50.0%, on fog 60.0%" in text
    assert "a further set (data.also_test), which chose nothing" in text
    words = summarise([RESULT], [RESULT], TEACHER_INFO, MEMBERS)
    assert "On night (40 images) trial 0 has 50.0%, the teacher 62.5%." in words
    assert "further set" not in front_markdown(
        [RESULT], members_of({}), make_info(), places, summary=""
    )


def test_the_terminal_shows_a_column_of_each_set_and_the_teacher_in_it(printed):
    frame = front_frame([RESULT], TEACHER_INFO, MEMBERS)
    lines = printed(200, lambda: print_front(frame, TEACHER_INFO, [RESULT]))
    text = "\n".join(lines)
    assert "on night" in text
    assert "on fog" in text
    (teacher,) = [line for line in lines if " T " in line and "62.5 %" in line]
    assert teacher.count("62.5 %") == 2
    assert "on NAME: labelled images from elsewhere" in text
    narrow = "\n".join(printed(60, lambda: print_front(frame, TEACHER_INFO, [RESULT])))
    assert "on fog, on night" in " ".join(narrow.split())


def finish(store, members, info=None):
    begin(store, info).finish(
        members,
        [RESULT],
        growth=GROWTH,
        stopped="",
        report=make_report,
        frame=pd.DataFrame(),
        info=info or make_info(),
    )


def test_mlflow_has_metrics_tags_and_the_report_and_gives_the_same_table_back(
    store, tmp_path, printed
):
    (tmp_path / "also_test_night_audit").mkdir()
    (tmp_path / "also_test_night_audit" / "audit.json").write_text('{"n": 40}')
    night = replace(NIGHT, report=str(tmp_path / "also_test_night_audit"))
    members = members_of(dict(MEMBERS[0].also) | {"night": night})
    finish(store, members)
    run = trial_runs(store)[0]
    metrics, tags = run.data.metrics, run.data.tags
    assert metrics["also_test.night/accuracy"] == 0.5
    assert metrics["also_test.night/teacher_accuracy"] == 0.625
    assert metrics["also_test.fog/worst_group_accuracy"] == 0.3
    assert tags["autokd.also_test.night.audit"] == "fail"
    assert json.loads(find_audit(store, "digits/0", "night")) == {"n": 40}
    with pytest.raises(TrackingError, match="split is 'dusk'; known: val, test, fog, night"):
        find_audit(store, "digits/0", "dusk")
    assert further_in({**metrics, **tags}) == ["fog", "night"]
    stored = read_study(store, None)
    again = stored_front(stored.trials, stored.objectives, stored.teacher)
    own = front_frame([RESULT], TEACHER_INFO, members)
    assert again.columns.tolist() == own.columns.tolist()
    for column in own.columns[len(COLUMNS) :]:
        assert again[column].tolist() == own[column].tolist()
    text = "\n".join(printed(200, lambda: print_stored_front(again, stored)))
    assert "on night" in text


def test_the_report_of_a_set_that_has_changed_takes_the_place_of_the_old_one(store, tmp_path):
    folder = tmp_path / "also_test_night_audit"
    folder.mkdir()
    for text, data_hash in (('{"n": 1}', "one"), ('{"n": 2}', "two"), ('{"n": 3}', "two")):
        (folder / "audit.json").write_text(text)
        finish(
            store, members_of({"night": replace(NIGHT, report=str(folder), data_hash=data_hash)})
        )
    assert json.loads(find_audit(store, "digits/0", "night")) == {"n": 2}


def test_sets_that_have_left_the_search_file_leave_its_tables(done, ledger, store):
    task, result = done
    ask_further_sets([result], task, ledger)
    ledger.note("scale", Scale(objectives=OBJECTIVES, teacher=TEACHER_INFO, classes=4).to_record())
    ledger.note("space", {"distributions": {}, "pauses": [1]})
    ledger.note(TEST, {"0": asdict(evaluate_on_test(result, task))})
    for names in (["fog", "night"], ["night"], []):
        config = json.dumps({"data": {"also_test": {name: {"root": "x"} for name in names}}})
        found = conclude(make_info(config=config), ledger, tested=True)
        assert list(found.members[0].also) == names
        finish(store, found.members, make_info(config=config))
        columns = read_study(store, None).trials.columns
        assert [c.split(".")[1] for c in columns if c.endswith(".audit")] == names
    assert conclude(make_info(config="name: digits\n"), ledger, tested=True).members[0].also == {}
