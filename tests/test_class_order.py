"""The order of classes: Python's own by default, the user's where given, a teacher's named when it looks like another."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_model
from test_data_folder import load_folder, make_image_folder
from tiny_task import CPU, LARGE, QUICK, labels_alone, make_data

from autokd.appraisal import appraise
from autokd.class_order import Reordered, find_other_order, places_in
from autokd.config import DataConfig, TeacherConfig
from autokd.errors import ConfigError
from autokd.evaluation import predict
from autokd.students import look_inside
from autokd.teachers import build_student, inputs_of, load_teacher, train_once

DATA = make_data()


@pytest.mark.parametrize(
    ("classes", "order"),
    [(("Zebra", "ant"), ("Zebra", "ant")), (("1", "2", "10"), ("1", "10", "2"))],
)
def test_folders_stand_in_the_order_of_torchvisions_image_folder(tmp_path, classes, order):
    from torchvision.datasets import ImageFolder

    root = make_image_folder(tmp_path / "set", classes=classes)
    assert load_folder(root, tmp_path).info.class_names == order
    assert tuple(ImageFolder(root).classes) == order


def test_a_list_of_classes_sets_their_order(tmp_path):
    root = make_image_folder(tmp_path / "set", classes=("a", "b", "c"))
    plain = load_folder(root, tmp_path)
    given = load_folder(root, tmp_path, classes=("c", "a", "b"))
    assert given.info.class_names == ("c", "a", "b")
    for split in (given.train, given.val, given.test):
        folders = [given.files[row].split("/")[0] for row in split.rows]
        assert folders == ["cab"[label] for label in split.labels]
    assert given.info.hash != plain.info.hash
    assert load_folder(root, tmp_path, classes=("a", "b", "c")).info.hash == plain.info.hash


def test_a_search_begun_in_the_order_of_earlier_versions_has_its_hash_with_that_order(tmp_path):
    root = make_image_folder(tmp_path / "set", classes=("1", "2", "10"))
    assert load_folder(root, tmp_path).info.hash == "92addf3839ad93a9"
    assert load_folder(root, tmp_path, classes=("1", "2", "10")).info.hash == "e70669f22a3fc5c4"


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("cat", "cow"), "it lacks 'dog', and the data does not have 'cow'. They are 'cat', 'dog'"),
        (("cat", "dog", "cow"), "the data does not have 'cow'"),
    ],
)
def test_classes_that_are_not_the_datas_are_refused_with_the_difference(tmp_path, classes, message):
    root = make_image_folder(tmp_path / "set")
    with pytest.raises(ConfigError, match=rf"^data\.classes: must name the data's 2 .*{message}"):
        load_folder(root, tmp_path, classes=classes)


def test_numbers_are_class_names_and_what_yaml_changes_is_refused():
    assert DataConfig(source="npz", classes=[3, "4"]).classes == ("3", "4")
    for value in (False, 1.1, None):
        with pytest.raises(ValueError, match=f"YAML reads it as {value}; put the class's name in"):
            DataConfig(source="npz", classes=["a", value])
    with pytest.raises(ValueError, match="'a' stands 2 times"):
        DataConfig(source="npz", classes=["a", "b", "a"])


CODE = """
import sys
from pathlib import Path
from autokd.config import DataConfig
from autokd.data import load_data
data = load_data(DataConfig(source="folder", root=sys.argv[1]), seed=0, cache=Path(sys.argv[2]))
print(data.info.hash, *data.info.class_names)
"""


@pytest.mark.slow
def test_classes_that_differ_in_case_alone_have_one_order_in_every_process(tmp_path):
    names = ("A", "a", "B", "b", "01", "1")
    root = make_image_folder(tmp_path / "set", classes=names)
    said = {
        subprocess.run(
            [sys.executable, "-c", CODE, root, tmp_path / "cache"],
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split(maxsplit=1)[1]
        for seed in "01"
    }
    assert said == {" ".join(sorted(names)) + "\n"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A teacher of the four quarters that knows them well, with its logits in another order: c, a, d, b."""
    folder = tmp_path_factory.mktemp("teacher")
    stage = replace(labels_alone(epochs=6, augmentation="none"), student=LARGE)
    options = {"inputs": inputs_of(LARGE, DATA), "folder": folder, "device": CPU, "cache": folder}
    model = train_once(stage, [], data=DATA, key="0" * 16, **options).model
    head = model.get_classifier()
    for part in (head.weight, head.bias):
        part.copy_(part[[2, 0, 3, 1]].clone())
    save_model(model, folder / "turned.safetensors")
    return folder / "turned.safetensors"


def load(weights, cache, **options):
    config = TeacherConfig(
        model="resnet", arguments=dict(LARGE.arguments), checkpoint=weights, **options
    )
    teacher, info = load_teacher(config, DATA, cache=cache, seed=0, device=CPU, probe=QUICK)
    logits = predict(teacher.model, DATA.val, inputs=teacher.inputs, device=CPU)
    return teacher, info, appraise(config, teacher, DATA, logits).doubts


@pytest.mark.usefixtures("quick_latency")
def test_a_teacher_of_another_order_is_named_and_the_named_list_cures_it(weights, tmp_path):
    _, wrong, (doubt,) = load(weights, tmp_path)
    assert wrong.val_accuracy < 0.3
    assert doubt.endswith("give teacher.classes: [c, a, d, b]")
    _, right, doubts = load(weights, tmp_path, classes=("c", "a", "d", "b"))
    assert right.val_accuracy > 0.9
    assert right.hash != wrong.hash
    assert not doubts
    _, same, _ = load(weights, tmp_path, classes=DATA.info.class_names)
    assert same.hash == wrong.hash


@pytest.mark.usefixtures("quick_latency")
def test_a_reordered_teacher_keeps_its_features_and_says_the_same_to_all_who_ask(weights, tmp_path):
    plain, *_ = load(weights, tmp_path)
    turned, *_ = load(weights, tmp_path, classes=("c", "a", "d", "b"))
    pixels = turned.inputs.prepare(DATA.val.images.pixels)
    with torch.no_grad():
        own, new = look_inside(plain.model, pixels), look_inside(turned.model, pixels)
        deep = look_inside(turned.model, pixels, taps=1, pooled=True)
        deep_own = look_inside(plain.model, pixels, taps=1, pooled=True)
    assert torch.equal(own.logits[:, [1, 3, 0, 2]], new.logits)
    torch.testing.assert_close(deep.logits, new.logits)
    assert torch.equal(deep.pooled, deep_own.pooled)
    assert torch.equal(deep.maps[0], deep_own.maps[0])


def test_a_teacher_that_is_trained_here_has_the_datas_order():
    with pytest.raises(ValueError, match=r"classes are for weights made elsewhere"):
        TeacherConfig(model="resnet", train={"epochs": 1}, classes=("a", "b"))


orders = st.integers(2, 12).flatmap(lambda count: st.permutations(range(count)))


@settings(deadline=None)  # the first one imports scipy
@given(orders, st.integers(0, 2**16))
def test_an_order_is_found_again_whatever_it_is(order, seed):
    count = len(order)
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), 20)
    place = np.argsort(order)
    wrong = rng.random(len(labels)) < 0.1
    predicted = np.where(wrong, rng.integers(0, count, len(labels)), place[labels])
    names = [f"c{i}" for i in range(count)]
    found = find_other_order(predicted, labels, names)
    if list(order) == sorted(order):
        assert found is None
    else:
        assert found is not None
        assert list(found.classes) == [names[i] for i in order]
        right = np.array(order)[predicted] == labels
        assert found.accuracy == pytest.approx(right.mean())
        head = places_in(names, found.classes, "key")
        assert (np.array(order)[head] == np.arange(count)).all()


def test_answers_that_say_nothing_have_no_order():
    found = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        count, images = int(rng.integers(2, 12)), int(rng.integers(10, 300))
        labels = rng.choice(count, images, p=rng.dirichlet(np.ones(count)))
        predicted = rng.choice(count, images, p=rng.dirichlet(np.ones(count)))
        found += find_other_order(predicted, labels, [*map(str, range(count))]) is not None
    assert found <= 0.05 * 300


def test_a_weak_teacher_that_confuses_two_classes_is_left_alone():
    labels = np.repeat([0, 1, 2], 100)
    predicted = labels.copy()
    predicted[:60], predicted[100:160] = 1, 0  # 40 of 100 right, 60 taken for the other
    assert find_other_order(predicted, labels, "abc") is None


def test_names_that_yaml_would_change_are_given_in_quotes():
    labels = np.repeat([0, 1, 2], 20)
    found = find_other_order((labels + 1) % 3, labels, ("no", "1", "owl, barn"))
    assert found is not None
    assert found.advice().endswith("give teacher.classes: ['owl, barn', 'no', '1']")


def test_a_long_list_is_not_written_out():
    labels = np.repeat(np.arange(200), 3)
    found = find_other_order(labels[::-1], labels, [f"c{i}" for i in range(200)])
    assert found is not None
    assert (
        "begins with c199, c198, c197, c196, c195: give teacher.classes, all 200" in found.advice()
    )


def test_a_model_without_inner_parts_may_be_reordered():
    model = Reordered(build_student(LARGE, DATA).eval(), np.array([3, 2, 1, 0]))
    assert model.num_classes == 4
    with pytest.raises(AttributeError, match="no_such_part"):
        _ = model.no_such_part
