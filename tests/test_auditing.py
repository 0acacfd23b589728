"""Audits of a search's own models: groups and clusters of its data, and what the record says of where it is from."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_task import CLASSES, make_data, make_task
from torch.nn import functional as F

from autokd.auditing import SELECTION, UNTOUCHED, audit_groups, audit_student, audit_teacher
from autokd.records import TEACHER, AuditPolicy

DATA = make_data(grouped=True)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Its teacher is right everywhere, as far as audits can see."""
    made = make_task(DATA, tmp_path_factory.mktemp("cache"))
    for name in ("val", "test"):
        made.memory[f"answers of {made.teacher.hash} on {name}"] = right_answers(made.split(name))
    return made


def right_answers(split):
    return 5.0 * F.one_hot(split.labels, CLASSES).float()


def blind_at(site: str, split):
    """A student that takes every image of a site for the next class."""
    logits = right_answers(split)
    there = torch.tensor((split.metadata["site"] == site).to_numpy())
    logits[there] = logits[there].roll(1, dims=1)
    return logits


def audit_of(task, logits, *, split_name="val", student_seeds=()):
    return audit_student(
        task,
        split_name=split_name,
        title="Trial 0",
        student=logits,
        teachers={TEACHER: task.teacher},
        model_hash="beef",
        student_seeds=student_seeds,
    )


def test_the_site_at_which_a_student_is_blind_is_the_first_thing_the_audit_says(task):
    audit = audit_of(task, blind_at("B", DATA.val))
    assert audit.status == "fail"
    figures = audit.figures()
    assert figures.sentence.startswith("site B loses 100.0 pp (60 of 60 images regressed, 0 fixed")
    assert (figures.worst_group, figures.worst_group_accuracy) == ("site=B", 0.0)
    assert figures.gap_growth == 1.0


def test_a_student_as_good_as_its_teacher_loses_nothing(task):
    figures = audit_of(task, right_answers(DATA.val)).figures()
    assert figures.status != "fail"
    assert figures.worst_change == 0.0


def test_groups_with_too_few_images_to_tell_are_counted(task):
    logits = right_answers(DATA.val)
    logits[[0, 1, 20, 5, 6, 25]] = logits[[0, 1, 20, 5, 6, 25]].roll(1, dims=1)  # 3 of 60 a site
    assert audit_of(task, logits).figures().undecided == 2


def test_the_record_says_what_it_is_of(task):
    record = audit_of(task, blind_at("A", DATA.val)).record
    assert record["title"] == "Trial 0"
    assert record["data"]["split"] == "val"
    assert record["data"]["clusters"]["count"] == 24
    assert record["hashes"]["teacher"] == task.teacher_info.hash
    assert record["hashes"]["model"] == "beef"
    assert SELECTION in record["data"]["notes"]


def test_the_record_on_test_says_that_test_chose_nothing(task):
    record = audit_of(task, blind_at("A", DATA.test), split_name="test").record
    assert record["n"] == 40
    assert UNTOUCHED in record["data"]["notes"]


def test_further_seeds_of_a_student_say_how_much_its_training_varies(task):
    good, blind = right_answers(DATA.test), blind_at("B", DATA.test)
    found = audit_of(task, good, split_name="test", student_seeds=[good, good, blind]).record
    assert found["across_seeds"]["seeds"] == {"teacher": 1, "student": 3}
    assert found["across_seeds"]["accuracy"]["student"] == [1.0, 1.0, 0.5]


def test_the_teacher_is_audited_alone(task):
    audit = audit_teacher(task)
    assert audit.record["overall"]["student"] is None
    assert audit.status in ("pass", "warn")


def test_a_teacher_that_fails_one_site_fails_its_audit_unless_that_is_accepted(task):
    said = {f"answers of {task.teacher.hash} on val": blind_at("B", DATA.val)}
    blind = replace(task, memory=said)
    assert audit_teacher(blind).status == "fail"
    reason = "site B is closed next year"
    accepted = audit_teacher(replace(blind, policy=AuditPolicy(accept_teacher_bias=reason)))
    assert accepted.status == "warn"
    assert reason in accepted.to_markdown()
    assert reason in accepted.to_html()


def test_without_a_table_classes_are_the_groups(tmp_path):
    plain = make_task(make_data(), tmp_path)
    assert audit_groups(plain.data, plain.data.val) is None
    assert audit_teacher(plain).record["by"].keys() == {"class"}


def test_contested_images_are_named_and_shown_where_that_is_wanted(task):
    (plain, *_) = audit_of(task, blind_at("B", DATA.val)).record["contested"]
    assert plain["png"] is None
    assert plain["groups"] == {"site": "B"}
    shown = audit_of(replace(task, thumbnails=True), blind_at("B", DATA.val))
    picture = shown.record["contested"][0]
    image = Image.open(io.BytesIO(base64.b64decode(picture["png"])))
    row = int(picture["id"])
    np.testing.assert_array_equal(np.array(image), DATA.val.images[row][0].numpy())
    assert f"data:image/png;base64,{picture['png']}" in shown.to_html()


def test_an_image_of_a_set_of_files_is_named_by_its_file(task):
    files = tuple(f"{row}.png" for row in range(120))
    named = replace(task, data=replace(DATA, files=files))
    (first, *_) = audit_of(named, blind_at("B", DATA.val)).record["contested"]
    assert first["id"].endswith(".png")
