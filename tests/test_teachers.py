"""Teachers: frozen, asked once for each view, trained once, and loaded from files that cannot run code."""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny_task
import torch
from safetensors.torch import save_file
from tiny_task import CPU, LARGE, QUICK, labels_alone, make_data, make_teacher
from torch import Tensor, nn

from autokd.answers import to_half
from autokd.choices import check_choices
from autokd.config import TeacherConfig, parse_config
from autokd.data import train_batches, view_batches
from autokd.errors import CheckpointError, ConfigError
from autokd.evaluation import evaluate
from autokd.records import StudentSpec
from autokd.students import InputFormat, create_student
from autokd.teachers import CachedLogits, Teacher, build_student, load_teacher, train_once
from autokd.weights import read_weights

pytestmark = pytest.mark.usefixtures("quick_latency")
DATA = make_data()
INPUTS = InputFormat(image_size=8, mean=DATA.mean, std=DATA.std)
WEIGHTS = build_student(LARGE, DATA).state_dict()
META = partial(torch.empty_like, device="meta")
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n"


def cached(teacher: Teacher, folder: Path, augmentation: str = "light") -> CachedLogits:
    views = DATA.views(augmentation, cache=folder / "views")
    return CachedLogits(teacher, views, folder / "logits", classes=tiny_task.CLASSES)


def ask(logits: CachedLogits, folder: Path, *, view: int = 0, augmentation: str = "light"):
    """The cached logits and the pixels they should belong to, in a shuffled order."""
    views = DATA.views(augmentation, cache=folder / "views")
    batches = list(train_batches(views, view=view, batch_size=50, seed=3, epoch=1, device=CPU))
    answers = torch.cat([logits.logits(batch, view) for batch in batches])
    return answers, torch.cat([batch.pixels for batch in batches])


@pytest.mark.parametrize(("augmentation", "view"), [("none", 0), ("light", 0), ("light", 1)])
def test_cached_logits_are_the_live_ones_of_the_very_pixels_the_student_sees(
    tmp_path, augmentation, view
):
    teacher = make_teacher(DATA)
    answers, pixels = ask(
        cached(teacher, tmp_path, augmentation), tmp_path, view=view, augmentation=augmentation
    )
    with torch.inference_mode():
        live = teacher.model(teacher.inputs.prepare(pixels))
    assert answers.dtype == torch.float32
    torch.testing.assert_close(answers, live, rtol=1e-3, atol=1e-3)  # half precision


def test_a_teacher_may_want_other_pixels_than_its_student(tmp_path):
    torch.manual_seed(0)
    inputs = InputFormat(image_size=16, mean=(0.5,), std=(0.5,))
    teacher = Teacher(build_student(LARGE, DATA), inputs, "a", CPU)
    answers, pixels = ask(cached(teacher, tmp_path), tmp_path)
    with torch.inference_mode():
        live = teacher.model(inputs.prepare(pixels))
    torch.testing.assert_close(answers, live, rtol=1e-3, atol=1e-3)


def refuse(pixels):
    raise AssertionError("the teacher was asked again")


def test_a_teacher_is_asked_about_a_view_once_for_all_who_follow(tmp_path):
    teacher = make_teacher(DATA)
    first, _ = ask(cached(teacher, tmp_path), tmp_path)
    teacher.model.forward = refuse
    again, _ = ask(cached(teacher, tmp_path), tmp_path)
    assert torch.equal(first, again)
    with pytest.raises(AssertionError, match="asked again"):
        ask(cached(teacher, tmp_path), tmp_path, view=1)


def test_another_teacher_has_logits_of_its_own(tmp_path):
    first, _ = ask(cached(make_teacher(DATA, seed=0), tmp_path), tmp_path)
    other, _ = ask(cached(make_teacher(DATA, seed=1), tmp_path), tmp_path)
    assert not torch.allclose(first, other, atol=1e-2)


def test_the_same_weights_with_another_normalisation_have_logits_of_their_own(tmp_path):
    teacher = make_teacher(DATA)
    first, _ = ask(cached(teacher, tmp_path), tmp_path)
    other = Teacher(
        teacher.model, InputFormat(image_size=8, mean=(0.9,), std=(0.3,)), teacher.hash, CPU
    )
    second, _ = ask(cached(other, tmp_path), tmp_path)
    assert not torch.allclose(first, second, atol=1e-2)


def test_a_teacher_is_in_eval_mode_and_takes_no_gradient():
    model = build_student(LARGE, DATA).train()
    teacher = Teacher(model, INPUTS, "a", CPU)
    assert not any(module.training for module in teacher.model.modules())
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


def make_once(folder: Path, *, epochs: int = 1):
    return train_once(
        labels_alone(epochs=epochs, augmentation="none"),
        [],
        data=DATA,
        inputs=INPUTS,
        key="00000000000000aa",
        folder=folder,
        device=CPU,
        cache=folder,
    )


def test_a_model_is_trained_once_and_found_again(tmp_path):
    first = make_once(tmp_path)
    written = (tmp_path / "00000000000000aa" / "best.safetensors").stat().st_mtime_ns
    torch.manual_seed(99)
    again = make_once(tmp_path)
    assert (tmp_path / "00000000000000aa" / "best.safetensors").stat().st_mtime_ns == written
    for name, value in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


def test_what_was_trained_before_does_not_change_a_shared_model(tmp_path):
    torch.manual_seed(1)
    first = make_once(tmp_path / "a")
    torch.manual_seed(2)
    torch.randn(100)
    other = make_once(tmp_path / "b")
    for name, value in first.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], value), name


@pytest.mark.parametrize("whole_epochs", [0, 1, 3])
def test_a_training_that_was_interrupted_goes_on_after_its_last_whole_epoch(
    tmp_path, monkeypatch, caplog, whole_epochs
):
    whole = make_once(tmp_path / "a", epochs=4)
    begun = []

    def interrupt(*arguments, **options):
        begun.append(1)
        if len(begun) > whole_epochs:
            raise KeyboardInterrupt
        return evaluate(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("autokd.distill.evaluate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            make_once(tmp_path / "b", epochs=4)
    caplog.clear()
    with caplog.at_level("INFO", logger="autokd"):
        again = make_once(tmp_path / "b", epochs=4)
    trained = [line for line in caplog.messages if ": epoch " in line]
    assert len(trained) == 4 - whole_epochs
    for name, value in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
    homes = [tmp_path / place / "00000000000000aa" for place in "ab"]
    first, second = (json.loads((home / "stage.json").read_text())["history"] for home in homes)
    assert [e | {"seconds": 0} for e in second] == [e | {"seconds": 0} for e in first]
    assert {path.name for path in homes[1].iterdir()} == {path.name for path in homes[0].iterdir()}


def test_a_training_that_was_cut_short_is_done_again(tmp_path):
    whole = make_once(tmp_path / "a")
    home = tmp_path / "b" / "00000000000000aa"
    home.mkdir(parents=True)
    (home / "best.safetensors").write_bytes(b"half of it")
    again = make_once(tmp_path / "b")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


def load(config: TeacherConfig, cache: Path):
    return load_teacher(config, DATA, cache=cache, seed=0, device=CPU, probe=QUICK)


def config_of(path: Path, **changes) -> TeacherConfig:
    fields = {"model": "resnet", "arguments": dict(LARGE.arguments), "checkpoint": path}
    return TeacherConfig(**(fields | changes))


def test_a_teacher_is_trained_where_the_file_says_so_and_found_by_the_next_search(tmp_path):
    train = {"epochs": 3, "batch_size": 32, "learning_rate": 1e-2, "augmentation": "none"}
    config = config_of(tmp_path, checkpoint=None, train=train)
    teacher, info = load(config, tmp_path)
    again, info_again = load(config, tmp_path)
    assert info.source == "trained here"
    assert info.val_accuracy > 0.5  # chance: 0.25
    assert (info.hash, info.val_accuracy) == (info_again.hash, info_again.val_accuracy)
    assert info.cost.macs > 0
    assert info.cost.latency_ms is not None
    assert len(list((tmp_path / "teachers").iterdir())) == 1
    assert teacher.hash == again.hash == info.hash
    other_views = load_teacher(
        config, replace(DATA, view_count=3), cache=tmp_path, seed=0, device=CPU
    )
    assert other_views[0].hash != teacher.hash


TRAIN = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-2, "augmentation": "none"}


def test_an_ensemble_says_the_weighted_mean_of_its_members_probabilities(tmp_path):
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    members = [
        config_of(tmp_path / "a.safetensors", weight=3.0, image_size=16, mean=(0.5,), std=(0.5,)),
        config_of(tmp_path, checkpoint=None, train=TRAIN),
    ]
    teacher, info = load(TeacherConfig(ensemble=members), tmp_path)
    alone = [load(member, tmp_path) for member in (members[0], members[1])]
    pixels = DATA.val.images.pixels
    with torch.inference_mode():
        first = alone[0][0].model(alone[0][0].inputs.prepare(pixels)).softmax(dim=1)
        second = teacher.model.models[1](INPUTS.prepare(pixels)).softmax(dim=1)
        mixed = teacher.model(teacher.inputs.prepare(pixels))
    torch.testing.assert_close(mixed.exp(), 0.75 * first + 0.25 * second)
    assert info.name == "resnet + resnet"
    assert info.source == f"ensemble: {tmp_path / 'a.safetensors'}, trained here"
    assert info.cost.macs == sum(each.cost.macs for _, each in alone)
    assert info.cost.params == 2 * sum(p.numel() for p in alone[0][0].model.parameters())
    assert not teacher.model.training
    assert not any(p.requires_grad for p in teacher.model.parameters())


def test_members_of_an_ensemble_are_trained_from_seeds_of_their_own(tmp_path):
    member = config_of(tmp_path, checkpoint=None, train=TRAIN)
    teacher, info = load(TeacherConfig(ensemble=[member, member]), tmp_path)
    first, second = teacher.model.models
    assert not torch.equal(first.get_classifier().weight, second.get_classifier().weight)
    alone, _ = load(member, tmp_path)  # is the first of them, and not trained again
    assert torch.equal(alone.model.get_classifier().weight, first.get_classifier().weight)
    assert len(list((tmp_path / "teachers").iterdir())) == 2
    _, same = load(TeacherConfig(ensemble=[member, member]), tmp_path)
    _, other = load(
        TeacherConfig(ensemble=[member, member.model_copy(update={"weight": 2.0})]), tmp_path
    )
    assert info.hash == same.hash != other.hash


def test_a_student_learns_from_an_ensemble_cached_and_live(tmp_path):
    member = config_of(tmp_path, checkpoint=None, train=TRAIN)
    teacher, _ = load(TeacherConfig(ensemble=[member, member]), tmp_path)
    kept, pixels = ask(cached(teacher, tmp_path), tmp_path)
    with torch.inference_mode():
        torch.testing.assert_close(
            kept, teacher.model(teacher.inputs.prepare(pixels)), rtol=2e-3, atol=2e-3
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "resnet", "ensemble": []}, "give exactly one of checkpoint"),
        ({"train": TRAIN}, "model is missing"),
        ({"ensemble": [{"model": "resnet", "train": TRAIN}]}, "needs two members or more"),
        (
            {"model": "resnet", "ensemble": [{"model": "resnet", "train": TRAIN}] * 2},
            "an ensemble has no model of its own",
        ),
    ],
)
def test_an_ensemble_that_is_none_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TeacherConfig(**fields)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("plain.pt", lambda path: torch.save(WEIGHTS, path)),
        ("wrapped.pt", lambda path: torch.save({"state_dict": WEIGHTS, "epoch": 3}, path)),
        ("model.pth", lambda path: torch.save({"model": WEIGHTS}, path)),
        (
            "parallel.pt",
            lambda path: torch.save({f"module.{k}": v for k, v in WEIGHTS.items()}, path),
        ),
        ("plain.safetensors", lambda path: save_file(WEIGHTS, path)),
    ],
)
def test_weights_are_read_however_training_scripts_commonly_save_them(tmp_path, name, save):
    path = tmp_path / name
    save(path)
    teacher, info = load(config_of(path), tmp_path)
    assert info.source == str(path)
    for key, value in WEIGHTS.items():
        assert torch.equal(teacher.model.state_dict()[key], value), key


def test_two_files_of_other_weights_are_two_teachers(tmp_path):
    hashes = set()
    for i in range(2):
        path = tmp_path / f"{i}.pt"
        torch.save({k: v + i for k, v in WEIGHTS.items()}, path)
        hashes.add(load(config_of(path), tmp_path)[1].hash)
    assert len(hashes) == 2


class RunsCode:
    """What an attacker would put into a file of weights."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize(
    "dump",
    [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what, protocol=2))],
    ids=["zip", "bare pickle"],
)
def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path, dump):
    marker, path = tmp_path / "ran", tmp_path / "evil.pt"
    dump({"weight": RunsCode(marker)}, path)
    with pytest.raises(
        CheckpointError,
        match=r"evil\.pt: holds more than weights \(.*\) and would run code when read; save it as safetensors, or as torch\.save",
    ) as refused:
        load(config_of(path), tmp_path)
    assert not marker.exists()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "save", "problem"),
    [
        ("none.pt", lambda path: None, "there is no such file"),
        ("none.safetensors", lambda path: None, "there is no such file"),
        (
            "noise.pt",
            lambda path: path.write_bytes(b"\x00" * 100),
            "neither a safetensors file nor",
        ),
        ("empty.pt", lambda path: path.write_bytes(b""), "can't be read: it is empty"),
        ("noise.safetensors", lambda path: path.write_bytes(b"\x00" * 100), "neither a safetens"),
        ("page.pt", lambda path: path.write_text("<!DOCTYPE html>"), "neither a safetensors file"),
        ("arrays.pt", lambda path: path.write_bytes(zipped()), "neither a safetensors file"),
        ("lfs.pt", lambda path: path.write_text(LFS), "`git lfs pull` fetches them"),
        ("cut.pt", lambda path: cut_short(path), "can't be read: it is cut short or damaged"),
        ("cut.safetensors", lambda path: cut_short(path), "it is cut short or damaged"),
        ("cut_old.pt", lambda path: cut_short(path, old=True), "it is cut short or damaged"),
        ("folder.pt", lambda path: path.mkdir(), "it is a folder; give the file in it"),
        ("pipe.pt", lambda path: os.mkfifo(path), "it is no regular file"),
        ("list.pt", lambda path: torch.save([1, 2], path), "is not a state dict"),
        ("numbers.pt", lambda path: torch.save({0: torch.ones(2)}, path), "0 is not the name of a"),
        ("meta.pt", lambda path: torch.save(as_stored(META), path), "without values (meta)"),
        ("sparse.pt", lambda path: torch.save(as_stored(Tensor.to_sparse), path), "is sparse or"),
        ("whole.pt", lambda path: torch.save(nn.Linear(2, 2), path), "(torch.nn.modules.linear"),
        (
            "script.pt",
            lambda path: save_script(path),
            "is a TorchScript model, which is code; save",
        ),
        (
            "int.pt",
            lambda path: torch.save(as_stored(Tensor.long), path),
            "of another type (conv1.",
        ),
        ("other.pt", lambda path: torch.save({"a": torch.ones(2)}, path), "does not fit resnet"),
    ],
)
def test_a_file_of_no_use_is_refused_in_one_line(tmp_path, name, save, problem):
    path = tmp_path / name
    save(path)
    with pytest.raises(CheckpointError, match=rf"^teacher\.checkpoint .*{name}: ") as refused:
        load(config_of(path), tmp_path)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def cut_short(path: Path, *, old: bool = False) -> None:
    if path.suffix == ".safetensors":
        save_file(WEIGHTS, path)
    else:
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=not old)
    path.write_bytes(path.read_bytes()[:2000])


def as_stored(change) -> dict[str, Tensor]:
    return {name: change(value) for name, value in WEIGHTS.items()}


def zipped() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.ones(2))
    return buffer.getvalue()


def save_script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch will drop it one day; such files stay
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("safe.pt", lambda path: save_file(WEIGHTS, path)),
        ("torch.safetensors", lambda path: torch.save(WEIGHTS, path)),
        ("old.pt", lambda path: torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)),
    ],
)
def test_weights_are_read_by_what_they_are_and_not_by_their_name(tmp_path, name, save):
    save(tmp_path / name)
    found = read_weights(tmp_path / name).tensors
    assert all(torch.equal(found[key], value) for key, value in WEIGHTS.items())


VIT = {"model": "vit", "arguments": {"heads": 3, "head_dim": 8, "depth": 1, "patch_size": 4}}


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        (
            {"channels": 3},
            r"its images have 3 channels: set data\.channels: 3; to fine-tune it on these images give it as pretrained, with",
        ),
        (
            {"classes": 11},
            r"it knows 11 classes, and the data has 4; to fine-tune it on these images give it as pretrained, with",
        ),
        (
            {"channels": 3, "classes": 5},
            r"set data\.channels: 3 and it knows 5 classes, and the data has 4; to fine-tune it on these images give it as pretrained, with",
        ),
        (
            {"image_size": 16},
            r"another image size: set teacher\.image_size: 16; to fine-tune it on these images give it as pretrained, with",
        ),
    ],
)
def test_weights_for_other_images_are_refused_with_what_to_set(tmp_path, changes, cure):
    shape = {"classes": 4, "channels": 1, "image_size": 8} | changes
    spec = StudentSpec(image_size=shape.pop("image_size"), **VIT)
    save_file(create_student(spec, **shape).state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(CheckpointError, match=cure):
        load(TeacherConfig(checkpoint=tmp_path / "vit.safetensors", **VIT), tmp_path)


def test_published_weights_that_do_not_fit_are_refused_before_they_are_fetched(tmp_path):
    with pytest.raises(CheckpointError, match="resnet18 knows 1,000 classes and the data has 4"):
        load(TeacherConfig(model="resnet18", pretrained=True), tmp_path)
    with pytest.raises(CheckpointError, match="resnet18 knows 1,000 classes and the data has 4"):
        load(
            TeacherConfig(model="resnet18", pretrained=True, arguments={"num_classes": 4}), tmp_path
        )


@pytest.mark.parametrize("key", ["optimizer", "augmentation"])
def test_unknown_names_in_a_teachers_training_are_refused_before_it(key):
    teacher = {"model": "resnet", "train": {key: "adamx"}}
    record = {"data": {"source": "digits"}, "teacher": teacher, "students": {"model": "resnet"}}
    with pytest.raises(ConfigError, match=rf"^teacher\.train\.{key}: unknown 'adamx'; known: "):
        check_choices(parse_config(record, source="mine.yaml"), 10)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": [123.7, 116.3, 103.5]}, r"mean\n.*divide it by 255: \[0.485, 0.456, 0.406\]"),
        ({"std": [58.4]}, r"std\n.*is of pixels in 0\.\.255; divide it by 255: \[0.229\]"),
        ({"std": [0.2, 0.0]}, r"must be above 0 and at most 1, as pixels are in 0\.\.1"),
        ({"mean": [-0.1]}, r"must be from 0 to 1, as pixels are in 0\.\.1"),
        ({"mean": [float("nan")]}, r"should be a finite number"),
    ],
)
def test_a_normalisation_that_no_pixels_have_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TeacherConfig(model="resnet", pretrained=True, **fields)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_usual_logits_are_kept_bit_for_bit_as_half_precision_rounds_them(dtype):
    logits = (100 * torch.randn(50, 7)).to(dtype)
    assert torch.equal(to_half(logits), logits.to(torch.float16))


def test_logits_that_half_precision_can_not_hold_keep_their_softmax():
    usual = torch.randn(3, 4)
    far = torch.tensor([[5.0, 4.0, -1e9, 3.0], [1e8 + 16, 1e8, 0.0, 0.0], [1.0, 0.5, 0.2, 3e38]])
    kept = to_half(torch.cat([usual, far]))
    assert kept.isfinite().all()
    assert torch.equal(kept[:3], usual.to(torch.float16))
    torch.testing.assert_close(kept[3:].float().softmax(1), far.softmax(1), atol=1e-3, rtol=0)


def test_logits_that_are_no_numbers_stay_so():
    broken = torch.tensor([[float("nan"), 1.0], [float("inf"), 1.0], [-float("inf"), -1e9]])
    assert not to_half(broken).isfinite().all(dim=1).any()


def test_a_teacher_of_which_nothing_can_be_kept_is_named(tmp_path):
    teacher = make_teacher(DATA)
    teacher.model.get_classifier().bias.fill_(float("nan"))
    with pytest.raises(CheckpointError, match=r"the teacher's logits are NaN, .* on 128 of 128"):
        ask(cached(teacher, tmp_path), tmp_path)


def test_weights_of_another_width_are_refused_with_what_to_check(tmp_path):
    path = tmp_path / "wide.pt"
    torch.save(WEIGHTS, path)
    narrow = {"arguments": dict(tiny_task.SMALL.arguments)}
    with pytest.raises(
        CheckpointError,
        match=r"does not fit resnet with 4 classes and 1 channels: \d+ of another shape \(.* \(8, .* instead of \(4, .*; "
        r"check the file, the model and its arguments",
    ):
        load(config_of(path, **narrow), tmp_path)


def test_a_teachers_normalisation_needs_a_value_for_each_channel(tmp_path):
    with pytest.raises(ConfigError, match=r"teacher\.mean and std need 1 values"):
        load(config_of(tmp_path / "any.pt", mean=(0.5, 0.5, 0.5)), tmp_path)


def test_a_teachers_own_normalisation_goes_before_the_datas(tmp_path):
    path = tmp_path / "plain.pt"
    torch.save(WEIGHTS, path)
    teacher, _ = load(config_of(path, mean=(0.5,)), tmp_path)
    assert (teacher.inputs.mean, teacher.inputs.std) == ((0.5,), DATA.std)


def test_a_view_is_computed_in_the_splits_order(tmp_path):
    teacher = make_teacher(DATA)
    views = DATA.views("light", cache=tmp_path / "views")
    logits = cached(teacher, tmp_path)
    batch = next(view_batches(views, view=1, batch_size=10, device=CPU))
    with torch.inference_mode():
        live = teacher.model(teacher.inputs.prepare(batch.pixels))
    torch.testing.assert_close(logits.logits(batch, 1), live, rtol=1e-3, atol=1e-3)


def test_a_teacher_answers_students_in_the_precision_that_is_asked_for(tmp_path):
    weights = tmp_path / "teacher.safetensors"
    save_file(WEIGHTS, weights)
    config = {"model": "resnet", "arguments": dict(LARGE.arguments), "checkpoint": weights}
    teachers = {
        name: load_teacher(
            TeacherConfig(**config, precision=name), DATA, cache=tmp_path, seed=0, device=CPU
        )
        for name in ("auto", "fp32", "bf16")
    }
    assert len({teacher.hash for teacher, _ in teachers.values()}) == 3
    assert len({info.val_accuracy for _, info in teachers.values()}) == 1  # audits are in full
    said = {
        name: ask(cached(teacher, tmp_path), tmp_path) for name, (teacher, _) in teachers.items()
    }
    full, _ = said["fp32"]
    assert torch.equal(said["auto"][0], full)  # on a CPU
    model, inputs = teachers["bf16"][0].model, teachers["bf16"][0].inputs
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        live = model(inputs.prepare(said["bf16"][1]))
    torch.testing.assert_close(said["bf16"][0], live.float(), rtol=1e-3, atol=1e-3)
    assert not torch.equal(said["bf16"][0], full)
