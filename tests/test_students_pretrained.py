"""Students that start from pretrained weights, from a file where there is no network."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tiny_task import candidate, make_data, make_task

from autokd.config import parse_config
from autokd.engine.check import check_search
from autokd.engine.database import BegunStudy
from autokd.engine.heritage import find_heirs
from autokd.engine.identity import identify, refuse_changed
from autokd.engine.survey import survey_file, try_starts
from autokd.errors import CheckpointError, ConfigError
from autokd.records import Candidate, StudentSpec
from autokd.space import Space, centre
from autokd.students import by_contents, create_student, takes_image_size
from autokd.trial import find_or_train_teachers, run_trial
from autokd.weights import classifiers_of

MODEL = "test_efficientnet.r160_in1k"
DATA = make_data()
TEACHER = {
    "model": "resnet",
    "arguments": {"width": 8, "depth": 1, "stages": 3, "stem_stride": 1},
    "train": {"epochs": 1},
}
SEARCH = {"data": {"source": "digits"}, "teacher": TEACHER}


@pytest.fixture(scope="module")
def file(published_file):
    return published_file


def space(**students) -> Space:
    return Space(parse_config(SEARCH | {"students": students}, source="mine.yaml"), image_size=32)


def test_weights_of_a_file_are_there_with_a_new_classifier_and_fewer_channels(file):
    spec = StudentSpec(model=MODEL, image_size=32, start=str(file))
    published = timm.create_model(MODEL, pretrained=False, checkpoint_path=str(file)).state_dict()
    same = create_student(spec, classes=1000, channels=3, start=True).state_dict()
    assert all(torch.equal(same[name], value) for name, value in published.items())
    other = create_student(spec, classes=4, channels=1, start=True).state_dict()
    inner = "conv_head.weight"
    assert torch.equal(other[inner], published[inner])
    assert other["classifier.weight"].shape[0] == 4
    fresh = create_student(spec, classes=4, channels=1).state_dict()
    assert not torch.equal(fresh[inner], published[inner])


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (MODEL, ["classifier"]),
        ("test_resnet", ["fc"]),
        ("test_vit", ["head"]),
        ("deit_tiny_distilled_patch16_224", ["head", "head_dist"]),
        ("test_convnext", ["head.fc"]),
        ("levit_128s", ["head.linear", "head_dist.linear"]),
    ],
)
def test_a_new_classifier_above_pretrained_weights_starts_small(model, names, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(timm.create_model(model, pretrained=False).state_dict(), file)
    spec = StudentSpec(model=model, image_size=224, start=str(file))
    fresh = create_student(spec, classes=200, channels=3, start=True)
    for name in names:
        layer = fresh.get_submodule(name)
        assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
        assert not layer.bias.any()
    known = create_student(spec, classes=1000, channels=3, start=True).get_submodule(names[0])
    published = load_file(file)[f"{names[0]}.weight"]
    assert torch.equal(known.weight, published)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of tables that timm resizes
@pytest.mark.parametrize(
    "model",
    [
        "test_vit",
        "test_vit3",
        "test_convnext",
        "test_efficientnet",
        "test_mambaout",
        "beit_base_patch16_224",
        "deit_tiny_distilled_patch16_224",
        "densenet121",
    ],
)
def test_a_start_at_another_size_with_other_channels_and_classes_is_what_timm_makes_of_it(
    model, tmp_path
):
    small = {"depth": 1} if model.startswith(("beit", "deit")) else {}
    file = tmp_path / "model.safetensors"
    save_file(timm.create_model(model, pretrained=False, **small).state_dict(), file)
    spec = StudentSpec(model=model, image_size=96, arguments=small, start=str(file))
    found = create_student(spec, classes=5, channels=1, start=True).state_dict()
    size = {"img_size": 96} if takes_image_size(model) else {}
    expected = timm.create_model(
        model, pretrained=True, pretrained_cfg_overlay={"file": str(file)}, num_classes=5, in_chans=1,
        **size, **small,
    )  # fmt: skip
    new = tuple(f"{name}." for name in classifiers_of(expected, 5))
    for name, value in expected.state_dict().items():
        assert name.startswith(new) or torch.equal(found[name], value), name


def test_a_search_with_other_new_classifiers_is_another_search(file):
    students = {"model": MODEL, "pretrained": True}
    data = make_data()
    now = identify(parse_config(SEARCH | {"students": students}, source="mine.yaml"), data)
    before = {key: value for key, value in now.items() if key != "heads"}
    begun = BegunStudy(name="mine-1a", identity=before, has_ended=False)
    with pytest.raises(ConfigError, match="new classifiers on pretrained weights start otherwise"):
        refuse_changed(now, [begun])
    fresh = identify(parse_config(SEARCH | {"students": {"model": "resnet"}}, source=""), data)
    assert "heads" not in fresh


def test_a_search_whose_file_was_replaced_is_another_search(file, tmp_path):
    mine = tmp_path / "mine.safetensors"
    students = {"model": MODEL, "pretrained": {MODEL: str(mine)}}
    config = parse_config(SEARCH | {"students": students}, source="mine.yaml")
    data = make_data()
    shutil.copy(file, mine)
    begun = BegunStudy(name="mine-1a", identity=identify(config, data), has_ended=False)
    refuse_changed(identify(config, data), [begun])
    save_file({name: value + 1 for name, value in load_file(file).items()}, mine)
    with pytest.raises(ConfigError, match="the weights that students start from are not the same"):
        refuse_changed(identify(config, data), [begun])
    earlier = {k: v for k, v in begun.identity.items() if k not in ("readers", "starts")}
    with pytest.raises(ConfigError, match="begun by an autokd that reads files of weights otherw"):
        refuse_changed(begun.identity, [replace(begun, identity=earlier)])


def test_an_assistant_is_found_wherever_its_file_lies_and_not_once_that_is_another(file, tmp_path):
    data = make_data()
    task = make_task(data, tmp_path / "cache")
    (stage,) = candidate(epochs=1).stages
    training = replace(stage.training, learning_rate=1e-12)
    keys = []
    for name, change in [("a", 0), ("b", 0), ("b", 1)]:
        path = tmp_path / f"{name}.safetensors"
        save_file({k: v + change for k, v in load_file(file).items()}, path)
        spec = StudentSpec(model=MODEL, image_size=32, start=str(path))
        assistant = replace(stage, name="assistant_1", student=spec, training=training)
        taught = replace(stage, teachers=("assistant_1",))
        wanted = Candidate(stages=(assistant, taught))
        keys.append(find_or_train_teachers(wanted, task)["assistant_1"].hash)
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("start", [None, "pretrained", "heir"])
def test_what_starts_from_no_file_is_named_as_before(start):
    spec = StudentSpec(model=MODEL, image_size=32, start=start)
    assert by_contents(spec) is spec


def test_a_file_that_is_gone_is_one_line(tmp_path):
    spec = StudentSpec(model=MODEL, image_size=32, start=str(tmp_path / "gone.pt"))
    with pytest.raises(CheckpointError, match=r"gone\.pt: there is no such file"):
        by_contents(spec)
    with pytest.raises(
        CheckpointError, match=r"gone\.pt: there is no such file; give another file"
    ):
        create_student(spec, classes=4, channels=1, start=True)


def test_families_and_own_models_start_from_files_too(tmp_path):
    arguments = {"width": 8, "depth": 1, "stages": 3, "stem_stride": 1}
    spec = StudentSpec(model="resnet", arguments=arguments, image_size=8)
    weights = create_student(spec, classes=4, channels=1).state_dict()
    save_file(weights, tmp_path / "own.safetensors")
    start = replace(spec, start=str(tmp_path / "own.safetensors"))
    found = create_student(start, classes=4, channels=1, start=True).state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights.items())


HUB = "models--timm--mobilenetv3_small_050.lamb_in1k"


@pytest.mark.parametrize(
    "place", ["hub/{HUB}/snapshots/abc/model.safetensors", "checkpoints/{FILE}"]
)
def test_published_weights_are_taken_from_the_caches_of_the_hub_and_of_torch(
    tmp_path, monkeypatch, place
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    spec = StudentSpec(model="mobilenetv3_small_050", image_size=32, start="pretrained")
    with pytest.raises(CheckpointError, match=r"can't be had: .*; give a local file for it \(pret"):
        create_student(spec, classes=4, channels=1, start=True)
    published = timm.create_model("mobilenetv3_small_050").state_dict()
    named = timm.get_pretrained_cfg("mobilenetv3_small_050").url.rpartition("/")[2]
    file = tmp_path / place.format(HUB=HUB, FILE=named)
    file.parent.mkdir(parents=True)
    if file.suffix == ".safetensors":
        (tmp_path / "hub" / HUB / "refs").mkdir()
        (tmp_path / "hub" / HUB / "refs" / "main").write_text("abc")
        save_file(published, file)
    else:
        torch.save(published, file)
    found = create_student(spec, classes=4, channels=1, start=True)
    assert torch.equal(found.state_dict()["conv_head.weight"], published["conv_head.weight"])
    assert float(found.classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.1)


def test_a_trial_starts_from_them_and_goes_on_after_a_pause_from_its_own(file, tmp_path):
    data = make_data()
    task = make_task(data, tmp_path / "cache")
    (stage,) = candidate(epochs=2).stages
    spec = StudentSpec(model=MODEL, image_size=32, start=str(file))
    training = replace(stage.training, learning_rate=1e-12)
    wanted = Candidate(stages=(replace(stage, student=spec, training=training),))
    whole = run_trial(wanted, task, number=0, seed=1, folder=tmp_path / "whole")
    assert whole.state == "complete", whole.reason
    first = run_trial(wanted, task, number=0, seed=1, folder=tmp_path / "parts", until=1)
    parts = run_trial(wanted, task, number=0, seed=1, folder=tmp_path / "parts", before=first)
    assert [e.val_loss for e in parts.history] == [e.val_loss for e in whole.history]
    random = Candidate(
        stages=(replace(stage, student=replace(spec, start=None), training=training),)
    )
    other = run_trial(random, task, number=0, seed=1, folder=tmp_path / "random")
    assert other.history[0].val_loss != whole.history[0].val_loss
    assert wanted.hash != random.hash


def test_named_models_start_from_timm_s_weights_and_families_inherit_from_them():
    mixed = space(model=[MODEL, "resnet"], pretrained=True)
    starts = {}
    for model in (MODEL, "resnet"):
        student = mixed.sample_student(
            lambda name, d, model=model: model if name == "students.model" else centre(name, d)
        )
        starts[model] = student.start
    assert starts == {MODEL: "pretrained", "resnet": "heir"}
    assert student.describe().endswith("px, heir")


@pytest.mark.parametrize(
    ("students", "message"),
    [
        ({"model": "cs3darknet_s", "pretrained": True}, "timm has no weights of cs3darknet_s"),
        (
            {"model": [MODEL], "pretrained": {"test_efficientnt.r160_in1k": "a"}},
            "is none of timm's models in students.model Did you mean",
        ),
        ({"model": [MODEL], "pretrained": {MODEL: "nowhere.pt"}}, "there is no file nowhere.pt"),
    ],
)
def test_what_can_not_be_is_refused_before_the_search(students, message):
    with pytest.raises(ConfigError, match=message):
        space(**students)


def test_weights_that_can_not_be_had_are_one_line(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    spec = StudentSpec(model=MODEL, image_size=32, start=str(broken))
    with pytest.raises(CheckpointError, match=r"weights of .* can't be had: .*; give another file"):
        create_student(spec, classes=4, channels=1, start=True)


def test_a_search_is_refused_before_its_first_trial_where_they_can_not_be_had(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    students = {
        "model": ["test_resnet"],
        "image_size": 32,
        "pretrained": {"test_resnet": str(broken)},
    }
    config = parse_config(SEARCH | {"students": students}, source="mine.yaml")
    with pytest.raises(CheckpointError, match="weights of test_resnet can't be had"):
        check_search(config, directory=tmp_path)


def test_it_is_said_what_students_take_of_their_files(file):
    data = make_data()
    students = {"model": MODEL, "image_size": 32, "pretrained": {MODEL: str(file)}}
    config = parse_config(SEARCH | {"students": students}, source="mine.yaml")
    _, _, found = survey_file(config, data, samples=2)
    (said,) = try_starts(found, [], data)
    assert said == (
        f"{MODEL} starts from {file}: 86 tensors loaded; adapted to these images: conv_stem (1); "
        "new: classifier (2)"
    )


def test_the_file_of_a_donor_is_tried_before_any_trial(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    students = {
        "model": "efficientnet_lite",
        "image_size": 32,
        "start": "heir",
        "pretrained": {"tf_efficientnet_lite0": str(broken)},
    }
    config = parse_config(SEARCH | {"students": students}, source="mine.yaml")
    space, costs, found = survey_file(config, make_data(), samples=2)
    (heirs,) = find_heirs(space, found, costs)
    assert heirs.donor is not None
    with pytest.raises(CheckpointError, match=r"weights of tf_efficientnet_lite0\S* can't be had"):
        try_starts(found, [heirs.donor.student], make_data())
