"""Teachers from published weights: what is loaded, what is trained, what stays, and what is refused."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm import create_model
from tiny_task import CPU, LARGE, make_data

from autokd.answers import CachedLogits
from autokd.config import TeacherConfig
from autokd.errors import CheckpointError, ConfigError
from autokd.students import create_student, look_inside
from autokd.teachers import describe_teacher, kept_in, load_teacher, load_those_at_hand
from autokd.teachers.describe import FINE_TUNED

pytestmark = pytest.mark.usefixtures("quick_latency")
DATA = make_data()
MODEL = {"model": "resnet", "arguments": dict(LARGE.arguments)}
TRAIN = {"epochs": 2, "augmentation": "none"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the large student for seven other classes."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "seven.safetensors"
    save_file(create_student(LARGE, classes=7, channels=1).state_dict(), path)
    return path


def tuned(file: Path, what: object, **changes: object) -> TeacherConfig:
    fields = {**MODEL, "pretrained": file, "train": {**TRAIN, "what": what}}
    return TeacherConfig(**(fields | changes))


def load(config: TeacherConfig, cache: Path, *, data=DATA):
    return load_teacher(config, data, cache=cache, seed=0, device=CPU)


def changed(teacher, file: Path) -> set[str]:
    """Parts of a model of which a tensor differs from the file's."""
    before = load_file(file)
    return {
        name.split(".")[0]
        for name, tensor in teacher.model.state_dict().items()
        if "num_batches" not in name
        if before[name].shape != tensor.shape or not torch.equal(before[name], tensor)
    }


def test_a_new_head_is_fitted_and_the_body_stays_what_it_was(file, tmp_path):
    teacher, info = load(tuned(file, "head"), tmp_path)
    assert changed(teacher, file) == {"fc"}
    assert info.val_accuracy > 0.5  # chance: 0.25
    assert info.source == f"fine-tuned (head) here from {file}"
    assert not any(p.requires_grad for p in teacher.model.parameters())


@pytest.mark.parametrize(
    ("what", "parts", "said"),
    [
        ({"last": 1}, {"layer3", "fc"}, "last 1"),
        ({"last": 2}, {"layer2", "layer3", "fc"}, "last 2"),
        ("all", {"conv1", "bn1", "layer1", "layer2", "layer3", "fc"}, "all"),
    ],
)
def test_what_is_trained_changes_and_what_is_before_it_keeps_weights_and_statistics(
    file, tmp_path, monkeypatch, what, parts, said
):
    monkeypatch.setattr(
        "autokd.teachers.load.fit_head", lambda *_, **__: None
    )  # leaves nothing to learn
    teacher, info = load(
        tuned(file, what, train={**TRAIN, "learning_rate": 0.03, "epochs": 6, "what": what}),
        tmp_path,
    )
    assert changed(teacher, file) == parts
    assert info.source == f"fine-tuned ({said}) here from {file}"


def test_a_training_that_ruins_it_leaves_the_fitted_head(file, tmp_path):
    head, of_head = load(tuned(file, "head"), tmp_path)
    ruined = {**TRAIN, "what": "all", "learning_rate": 10.0}
    kept, of_kept = load(TeacherConfig(**MODEL, pretrained=file, train=ruined), tmp_path)
    assert of_kept.val_accuracy == of_head.val_accuracy
    assert torch.equal(kept.model.fc.weight, head.model.fc.weight)


def test_a_fine_tuned_teacher_is_found_again_wherever_its_file_lies(file, tmp_path, monkeypatch):
    _, info = load(tuned(file, "head"), tmp_path)
    copy = tmp_path / "elsewhere.safetensors"
    shutil.copy(file, copy)
    monkeypatch.setattr("autokd.teachers.load.begin", None)  # nothing is loaded
    _, again = load(tuned(copy, "head"), tmp_path)
    assert again.hash == info.hash
    assert len(kept_in(tuned(copy, "head"), DATA, cache=tmp_path, seed=0)) == 1


def test_other_weights_another_part_and_another_normalisation_are_other_teachers(file, tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({name: 1.1 * tensor for name, tensor in load_file(file).items()}, other)
    hashes = {
        load(config, tmp_path)[1].hash
        for config in (
            tuned(file, "head"),
            tuned(other, "head"),
            tuned(file, "head", mean=(0.4,)),
            tuned(file, {"last": 1}),
        )
    }
    assert len(hashes) == 4


def test_features_are_computed_once_for_all_that_begins_with_them(file, tmp_path, monkeypatch):
    load(tuned(file, "head"), tmp_path)
    monkeypatch.setattr(CachedLogits, "_compute", None)
    load(tuned(file, {"last": 1}), tmp_path)


def test_what_was_loaded_left_and_new_and_what_it_is_shown_is_said(file, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="autokd"):
        load(tuned(file, "head", image_size=16), tmp_path)
    said = [message for message in caplog.messages if message.startswith("teacher: ")]
    assert said[0].startswith(f"teacher: {file}: ")
    assert said[0].endswith("tensors loaded; new: fc (2)")
    assert (
        said[1]
        == "teacher: fine-tuning head, a regression without epochs; images at 16 px, mean 0.25, std 0.15, resized by bilinear interpolation"
    )
    assert said[2].startswith("teacher: classifier fitted by logistic regression, C = ")


def test_published_weights_bring_their_normalisation_size_and_interpolation(
    published_file, tmp_path, caplog
):
    colours = coloured()
    config = TeacherConfig(
        model="test_efficientnet.r160_in1k", pretrained=published_file, train={"what": "head"}
    )
    with caplog.at_level(logging.INFO, logger="autokd"):
        teacher, _ = load(config, tmp_path, data=colours)
    assert teacher.inputs.mean == (0.485, 0.456, 0.406)
    assert teacher.inputs.image_size == 8
    (said,) = [message for message in caplog.messages if "fine-tuning" in message]
    assert (
        "images at 8 px (its weights: 160 px; teacher.image_size: 160 takes about 400 times" in said
    )
    assert "mean 0.485 0.456 0.406, std 0.229 0.224 0.225 of its weights; all of each image" in said
    large = config.model_copy(update={"image_size": 32})
    assert load(large, tmp_path, data=colours)[0].inputs.interpolation == "bicubic"


def coloured():
    """The same images in three channels."""
    splits = {}
    for name in ("train", "val", "test"):
        split = getattr(DATA, name)
        pixels = split.images.pixels.expand(-1, 3, -1, -1).contiguous()
        splits[name] = replace(split, images=type(split.images)(pixels))
    info = replace(DATA.info, channels=3, hash="0" * 16)
    return replace(DATA, info=info, mean=(0.25,) * 3, std=(0.15,) * 3, **splits)


def test_a_transformer_sees_images_of_its_weights_size_unless_another_is_given():
    config = TeacherConfig(model="test_vit", pretrained="weights.pt", train={})
    assert describe_teacher(config, DATA).student.image_size == 160
    smaller = config.model_copy(update={"image_size": 96})
    assert describe_teacher(smaller, DATA).student.image_size == 96


def test_a_backbone_without_classes_gets_a_head(tmp_path):
    torch.manual_seed(0)
    backbone = create_model("test_vit", num_classes=0, in_chans=1, img_size=32)
    save_file(backbone.state_dict(), tmp_path / "dino.safetensors")
    config = TeacherConfig(
        model="test_vit", image_size=32, pretrained=tmp_path / "dino.safetensors",
        train={"what": "head"}, mean=(0.25,), std=(0.15,),
    )  # fmt: skip
    teacher, info = load(config, tmp_path)
    assert info.val_accuracy > 0.5
    seen = look_inside(teacher.model, torch.zeros(2, 1, 32, 32), pooled=True)
    assert seen.pooled.shape == (2, 64)
    assert seen.logits.shape == (2, 4)


OWN = """
import torch

class Features(torch.nn.Module):
    def __init__(self, noise):
        super().__init__()
        torch.manual_seed(0)
        if noise:
            torch.seed()
        self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(11))

    def forward(self, pixels):
        return self.body(pixels)

def features(num_classes, in_chans, noise=False, tokens=False):
    made = Features(noise)
    if tokens:
        made.body.append(torch.nn.Unflatten(1, (1, 11)))
    return made
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_features.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return {"model": "own_features:features", "pretrained": True}


def test_own_code_that_gives_features_gets_a_head_and_can_teach_by_its_features(own, tmp_path):
    teacher, info = load(TeacherConfig(**own, train={"what": "head"}), tmp_path)
    assert info.val_accuracy > 0.5
    assert info.source == "fine-tuned (head) here from weights of own_features:features"
    seen = look_inside(teacher.model, torch.zeros(2, 1, 8, 8), pooled=True)
    assert seen.pooled.shape == (2, 11)
    _, again = load(TeacherConfig(**own, train={"what": "head"}), tmp_path)
    assert again.hash == info.hash


def test_features_of_own_code_start_from_a_file_too(own, tmp_path):
    from own_features import Features

    body = Features(noise=True)
    body(torch.zeros(2, 1, 8, 8))
    file = tmp_path / "body.safetensors"
    save_file(body.state_dict(), file)
    config = TeacherConfig(**own | {"pretrained": file}, train={"what": "head"})
    assert at_hand(config, tmp_path)[0] == f"{file}: 2 tensors loaded; new: head (2)"
    teacher, _ = load(config, tmp_path)
    kept = teacher.model.state_dict()
    assert all(torch.equal(kept[f"body.{name}"], t) for name, t in body.state_dict().items())
    assert kept["head.weight"].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {},
            r"got \(2, 11\); features make a teacher with pretrained \(true, or a file\) and train",
        ),
        (
            {"train": {"what": "head"}, "arguments": {"noise": True}},
            "returns other weights each time",
        ),
        ({"train": {"what": {"last": 1}}}, r"Features does not say what its blocks are"),
        (
            {"train": {"what": "head"}, "arguments": {"tokens": True}},
            r"logits of shape \(2, 4\) or features of shape \(2, D\), got \(2, 1, 11\)",
        ),
    ],
)
def test_own_code_that_can_not_be_fine_tuned_is_refused(own, tmp_path, changes, message):
    with pytest.raises((ConfigError, CheckpointError), match=message):
        load(TeacherConfig(**own, **changes), tmp_path)


def test_members_of_an_ensemble_are_each_fine_tuned(file, tmp_path):
    both = TeacherConfig(ensemble=[tuned(file, "head"), tuned(file, {"last": 1})])
    _, info = load(both, tmp_path)
    assert info.source == (
        f"ensemble: fine-tuned (head) here from {file}, fine-tuned (last 1) here from {file}"
    )
    assert len(kept_in(both, DATA, cache=tmp_path, seed=0)) == 2


def test_what_is_trained_follows_the_number_of_images_where_nothing_is_said():
    assert [images for images, _ in FINE_TUNED] == sorted(
        (images for images, _ in FINE_TUNED), reverse=True
    )
    config = TeacherConfig(**MODEL, pretrained="any.pt", train={})
    training = describe_teacher(config, DATA).training
    assert (training.epochs, training.trained_blocks) == (0, 0)  # 128 images
    many = make_data(train=FINE_TUNED[0][0])
    assert describe_teacher(config, many).training.trained_blocks is None


def test_settings_are_written_down_as_they_are_and_read_again_alike():
    config = TeacherConfig(**MODEL, pretrained=Path("any.pt"), train={"epochs": 3})
    assert config.train.epochs == 3
    assert config.train.batch_size == 32
    assert config.train.body_rate < 1
    assert TeacherConfig.model_validate(config.model_dump(mode="json")) == config
    plain = TeacherConfig(**MODEL, train={})
    assert (plain.train.epochs, plain.train.batch_size, plain.train.body_rate) == (20, 128, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"checkpoint": "a.pt", "train": {}}, "to fine-tune its weights give pretrained: FILE"),
        ({"checkpoint": "a.pt", "pretrained": True}, "got checkpoint and pretrained"),
        ({"train": {"what": "head"}}, r"train\.what is for published weights.*add pretrained"),
        ({"train": {"body_rate": 0.1}}, r"train\.body_rate is for published weights"),
        ({"pretrained": True, "train": {}, "classes": ["a", "b"]}, "classes are for weights made"),
        ({"pretrained": True, "averaged": False}, "averaged is for a file"),
        ({"train": {"what": {"last": 0}}, "pretrained": True}, "greater than or equal to 1"),
        (
            {"train": {"what": "tail"}, "pretrained": True},
            r"must be head, all or \{last: N\}, got 'tail'",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TeacherConfig(model="resnet18", **fields)


def at_hand(config: TeacherConfig, cache: Path, *, data=DATA) -> tuple[str, ...]:
    return load_those_at_hand(config, data, cache=cache, seed=0, device=CPU)


def test_check_is_told_what_search_says_of_the_weights(file, tmp_path):
    (loaded, shown) = at_hand(tuned(file, "head"), tmp_path)
    assert loaded.startswith(f"{file}: ")
    assert (
        shown
        == "fine-tuning head, a regression without epochs; images at 8 px, mean 0.25, std 0.15"
    )


@pytest.mark.parametrize("ask", [load, at_hand], ids=["search", "check"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": None}, r"seven.*it knows 7 classes.*add `train: {}` beside pretrained"),
        ({"arguments": LARGE.arguments | {"width": 8}}, r"does not fit resnet"),
        (
            {"model": "test_resnet", "arguments": {}},
            r"^teacher\.pretrained .*does not fit test_resnet",
        ),
        (
            {"pretrained": "none.pt"},
            r"^teacher\.pretrained none\.pt: there is no such file$",
        ),
        ({"pretrained": True}, r"timm has no weights of resnet; give pretrained: FILE"),
        ({"train": {"what": {"last": 4}}}, r"has 3 blocks, and teacher\.train\.what is \{last: 4"),
        (
            {"model": "resnet18", "arguments": {}, "pretrained": True, "train": None},
            r"resnet18 knows 1,000 classes and the data has 4; add `train: {}` beside pretrained",
        ),
    ],
)
def test_what_a_search_refuses_check_refuses_too(file, tmp_path, ask, changes, message):
    fields = {**MODEL, "pretrained": file, "train": {"what": "head"}} | changes
    with pytest.raises((CheckpointError, ConfigError), match=message):
        ask(TeacherConfig(**fields), tmp_path)


@pytest.mark.parametrize("train", [None, {}])
def test_weights_that_can_not_be_fetched_are_named_with_a_local_file_as_the_cure(
    tmp_path, monkeypatch, train
):
    def away(*args, pretrained=False, **kwargs):
        if pretrained:
            raise OSError("the hub does not answer")
        return create_model(*args, **kwargs)

    monkeypatch.setattr("autokd.students.start.timm.create_model", away)
    many = replace(DATA, info=replace(DATA.info, class_names=tuple(map(str, range(1000)))))
    config = TeacherConfig(model="resnet18.a1_in1k", pretrained=True, train=train)
    with pytest.raises(
        CheckpointError,
        match=r"^teacher\.pretrained: weights of resnet18\.a1_in1k can't be had: OSError: the hub does not answer; "
        r"give pretrained: FILE, a local copy of them$",
    ):
        load(config, tmp_path, data=many)
