"""Teachers: frozen, asked once for each view, trained once, and loaded from files that cannot run code."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_task
import torch
from safetensors.torch import save_file
from tiny_task import CPU, LARGE, QUICK, labels_alone, make_data, make_teacher

from autokd.config import TeacherConfig
from autokd.data import train_batches, view_batches
from autokd.errors import CheckpointError, ConfigError
from autokd.students import InputFormat
from autokd.teachers import CachedLogits, Teacher, build_student, load_teacher, train_once

pytestmark = pytest.mark.usefixtures("quick_latency")
DATA = make_data()
INPUTS = InputFormat(image_size=8, mean=DATA.mean, std=DATA.std)
WEIGHTS = build_student(LARGE, DATA).state_dict()


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


def make_once(folder: Path):
    return train_once(
        labels_alone(epochs=1, augmentation="none"),
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
        match=r"evil\.pt: holds more than weights and would run code when read; save it as safetensors, or as torch\.save",
    ) as refused:
        load(config_of(path), tmp_path)
    assert not marker.exists()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "save", "problem"),
    [
        ("none.pt", lambda path: None, "there is no such file"),
        ("none.safetensors", lambda path: None, "there is no such file"),
        ("noise.pt", lambda path: path.write_bytes(b"\x00" * 100), "teacher.checkpoint"),
        ("empty.pt", lambda path: path.write_bytes(b""), "can't be read: "),
        ("noise.safetensors", lambda path: path.write_bytes(b"\x00" * 100), "can't be read: "),
        ("cut.pt", lambda path: cut_short(path), "can't be read: "),
        ("folder.pt", lambda path: path.mkdir(), "can't be read: "),
        ("list.pt", lambda path: torch.save([1, 2], path), "is not a state dict"),
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


def cut_short(path: Path) -> None:
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:2000])


def test_weights_of_another_width_are_refused_with_what_to_check(tmp_path):
    path = tmp_path / "wide.pt"
    torch.save(WEIGHTS, path)
    narrow = {"arguments": dict(tiny_task.SMALL.arguments)}
    with pytest.raises(
        CheckpointError,
        match=r"does not fit resnet with 4 classes and 1 channels: \d+ of another shape \(.* \(8, .* instead of \(4, .*; "
        r"check teacher\.checkpoint, model and arguments",
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
