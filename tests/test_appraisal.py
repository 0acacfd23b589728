"""What a teacher is worth: said beside chance, and doubted with a cure where something looks wrong."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_task import CPU, LARGE, QUICK, labels_alone, make_data
from torch import nn

from autokd.answers import Mixture, Teacher
from autokd.appraisal import appraise, refuse_no_logits
from autokd.config import TeacherConfig
from autokd.errors import CheckpointError
from autokd.evaluation import predict
from autokd.students import InputFormat
from autokd.teachers import build_student, inputs_of, kept_in, load_teacher, train_once

DATA = make_data()
ELSEWHERE = TeacherConfig(model="resnet", checkpoint="somewhere.pt")
HERE = TeacherConfig(
    model="resnet", arguments=dict(LARGE.arguments), train={"epochs": 1, "augmentation": "none"}
)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Teacher:
    """It is right about all of val when it sees it as it was trained."""
    folder = tmp_path_factory.mktemp("teacher")
    stage = replace(labels_alone(epochs=6, augmentation="none"), student=LARGE)
    return train_once(
        stage, [], data=DATA, inputs=inputs_of(LARGE, DATA), key="0" * 16, folder=folder,
        device=CPU, cache=folder,
    )  # fmt: skip


def appraised(teacher: Teacher, config: TeacherConfig = ELSEWHERE):
    logits = predict(teacher.model, DATA.val, inputs=teacher.inputs, device=CPU)
    return appraise(config, teacher, DATA, logits)


def test_a_good_teacher_is_said_beside_chance_and_not_doubted(good):
    found = appraised(good)
    assert found.sentence() == "val 100.0 % of 60 images (chance 25 %)"
    assert not found.doubts


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1 / 255), (0.9, 0.02)])
def test_a_wrong_normalisation_is_named_with_the_right_one(good, mean, std):
    wrong = Teacher(good.model, InputFormat(image_size=8, mean=(mean,), std=(std,)), "a", CPU)
    (doubt,) = appraised(wrong).doubts
    assert doubt.startswith("its normalisation looks wrong: 100.0% of 60 val images are right")
    assert "with mean [0.25] and std [0.15], and" in doubt
    assert doubt.endswith("set teacher.mean and teacher.std to those")


def test_a_member_of_an_ensemble_is_doubted_by_itself(good):
    wrong = Teacher(good.model, InputFormat(image_size=8, mean=(0.9,), std=(0.02,)), "a", CPU)
    raw = InputFormat(image_size=8, mean=(0.0,), std=(1 / 255,))
    both = Teacher(Mixture([good, wrong], [1.0, 1.0]), raw, "b", CPU)
    (doubt,) = appraised(both, TeacherConfig(ensemble=[ELSEWHERE, ELSEWHERE])).doubts
    assert doubt.startswith("member 2 (resnet): its normalisation looks wrong")


def test_a_teacher_that_knows_nothing_is_doubted(good):
    blind = build_student(LARGE, DATA).requires_grad_(False)
    blind.get_classifier().weight.zero_()
    blind.get_classifier().bias.copy_(torch.tensor([5.0, 4.0, 3.0, 2.0]))
    (doubt,) = appraised(Teacher(blind, good.inputs, "a", CPU)).doubts
    assert doubt.startswith("hardly better than one answer to every image (25.0%)")
    assert doubt.endswith("look at its weights, image_size, mean, std and classes")
    trained_here = TeacherConfig(model="resnet", train={})
    (doubt,) = appraised(Teacher(blind, good.inputs, "a", CPU), trained_here).doubts
    assert doubt.endswith(
        "give it more epochs (teacher.train), another learning rate or more images"
    )
    tuned = TeacherConfig(model="resnet18", pretrained=True, train={"what": "head"})
    (doubt,) = appraised(Teacher(blind, good.inputs, "a", CPU), tuned).doubts
    assert "; fine-tune all of it (teacher.train.what: all) for more epochs or at a larger" in doubt


class Behind(nn.Module):
    """A model with something behind it."""

    def __init__(self, model: nn.Module, function) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, pixels):
        return self.function(self.model(pixels))


def test_answers_of_a_sigmoid_are_doubted(good):
    squashed = Teacher(Behind(good.model, torch.sigmoid), good.inputs, "a", CPU)
    (doubt,) = appraised(squashed).doubts
    assert (
        doubt == "all that it answers lies in 0..1, as behind a sigmoid; students learn from logits"
    )


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            torch.rand(9, 4).softmax(1),
            r"answers with probabilities .*leave its softmax out, or retu",
        ),
        (torch.rand(9, 4).softmax(1).bfloat16(), r"answers with probabilities"),
        (
            torch.full((9, 4), float("nan")),
            r"NaN or infinite logits for 9 of 9 val images; its wei",
        ),
        (torch.tensor([[1.0, 2.0], [-float("inf"), 2.0]]), r"for 1 of 2 .*mask classes by −10,000"),
    ],
)
def test_answers_that_are_no_logits_are_refused_with_the_cure(answers, message):
    with pytest.raises(CheckpointError, match=message):
        refuse_no_logits(nn.Linear(2, 2), answers)


def test_weights_that_are_no_numbers_are_named():
    broken = nn.Linear(2, 2).requires_grad_(False)
    broken.bias.fill_(float("nan"))
    with pytest.raises(CheckpointError, match=r"so are its weights \(bias\)"):
        refuse_no_logits(broken, broken(torch.ones(3, 2)))


def test_logits_and_their_logarithms_are_accepted():
    for logits in (torch.randn(9, 4), torch.rand(9, 4).log_softmax(1), torch.rand(9, 4)):
        refuse_no_logits(nn.Identity(), logits)


def test_a_kept_teacher_is_announced_with_the_way_to_train_it_anew(tmp_path, caplog):
    places = {"cache": tmp_path, "seed": 0}
    assert not kept_in(HERE, DATA, **places)
    load_teacher(HERE, DATA, device=CPU, probe=QUICK, **places)
    (home,) = kept_in(HERE, DATA, **places)
    teacher, _ = load_teacher(HERE, DATA, device=CPU, probe=QUICK, **places)
    logits = predict(teacher.model, DATA.val, inputs=teacher.inputs, device=CPU)
    found = appraise(HERE, teacher, DATA, logits, kept=[home])
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="autokd"):
        found.say()
    assert caplog.messages[0].startswith("teacher: val ")
    assert f"; trained before: delete {home} to train it anew" in caplog.messages[0]
    assert isinstance(home, Path)
