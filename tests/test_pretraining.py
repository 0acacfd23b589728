"""The stage without labels: what it learns from, what becomes of its weights, and that nothing is judged by it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_task
import torch
from engine_records import CONFIG
from fake_training import EPOCHS, AtOnce, make_driver
from hypothesis import given, settings
from safetensors.torch import load_file
from test_data_unlabelled import with_unlabelled
from test_features import train as train_on_features
from test_space import make_space, sample, seeds
from test_trial import in_steps, run, without_seconds
from tiny_task import make_data, make_task, stage

from autokd.config import override_config
from autokd.distill import BEST, LAST
from autokd.engine.ledger import Ledger
from autokd.engine.strategies import least_share
from autokd.errors import ConfigError
from autokd.needs import asks_logits, check_stage
from autokd.records import HEIR, PRETRAIN, TEACHER, Candidate, Stage
from autokd.space import centre
from autokd.space.stages import pretrain_stage
from autokd.students import inherit
from autokd.teachers import build_student
from autokd.tracking.trial_run import trial_points
from autokd.trial import run_trial

pytestmark = pytest.mark.usefixtures("quick_latency")
DATA = make_data()


def with_first_stage(student: Stage, epochs: int = 2, *, on_features: bool = True) -> Candidate:
    first = pretrain_stage(student, epochs, on_features=on_features)
    return Candidate(stages=(first, replace(student, start_from=PRETRAIN)))


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return make_task(DATA, tmp_path_factory.mktemp("cache"))


# what it is


@pytest.mark.parametrize(
    ("weights", "on_features", "expected"),
    [
        ({"ce": 0.1, "kd": 0.9}, True, {"pooled": 1.0}),
        ({"ce": 0.1, "kd": 0.9, "rkd": 3.0}, True, {"rkd": 3.0}),
        ({"ce": 0.1, "pooled": 0.5}, True, {"pooled": 0.5}),
        ({"ce": 0.1, "dist": 0.9, "rkd": 3.0}, False, {"dist": 1.0}),
        ({"ce": 0.1, "dkd": 0.9}, False, {"kd": 1.0}),  # dkd needs labels
    ],
)
def test_it_compares_what_the_students_own_stage_does_without_labels(
    weights, on_features, expected
):
    first = pretrain_stage(stage(loss_weights=weights), 3, on_features=on_features)
    assert first.loss_weights == expected
    check_stage(first)


def test_it_has_the_students_training_without_what_needs_labels_or_accuracies():
    own = stage(
        mixup=0.2, label_smoothing=0.1, patience=2, augmentation="light", learning_rate=3e-3,
        mitigation="group_dro", balance="linear", teacher_until=0.5, teacher_drop=0.25,
        teachers=("teacher", "assistant_1"),
    )  # fmt: skip
    first = pretrain_stage(own, 5, on_features=False)
    kept = replace(tiny_task.TRAINING, epochs=5, augmentation="light", learning_rate=3e-3)
    assert first.training == kept
    assert first == Stage(
        name=PRETRAIN, student=own.student, teachers=own.teachers, loss_weights={"kd": 1.0},
        temperature=own.temperature, training=kept, teacher_drop=0.25,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teachers": ()}, "pretrain: this stage learns from teachers alone, and has none"),
        ({"loss_weights": {"ce": 1.0, "kd": 1.0}}, "learns without labels; leave out ce, dkd"),
        ({"loss_weights": {"dkd": 1.0}}, "learns without labels; leave out ce, dkd"),
        ({"mixup": 0.2, "loss_weights": {"kd": 1.0}}, "learns without labels; leave out ce, dkd"),
        ({"name": "student", "loss_weights": {"pooled": 1.0}}, "nothing trains its classifier"),
    ],
)
def test_a_stage_of_a_file_that_mixes_up_the_two_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_stage(stage(**({"name": PRETRAIN} | changes)))


# what becomes of it


def test_labels_have_no_part_in_it(tmp_path):
    wrong = replace(DATA, train=replace(DATA.train, labels=DATA.train.labels.flip(0)))
    found = []
    for place, data in enumerate((DATA, wrong)):
        first = replace(stage(loss_weights={"kd": 1.0}), name=PRETRAIN)
        run(
            make_task(data, tmp_path / f"cache{place}"),
            Candidate(stages=(first,)),
            tmp_path / str(place),
        )
        found.append(load_file(tmp_path / str(place) / LAST))
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def test_images_without_labels_have_a_part_in_it_and_dkd_goes_on_with_the_others(tmp_path):
    dkd = stage(loss_weights={"ce": 1.0, "dkd": 1.0})
    with_them, without = (
        run(
            make_task(data, tmp_path / f"cache{place}"),
            with_first_stage(dkd),
            tmp_path / str(place),
        )
        for place, data in enumerate((with_unlabelled(64), DATA))
    )
    assert with_them.state == without.state == "complete"
    losses = [[epoch.train_loss for epoch in each.history] for each in (with_them, without)]
    assert losses[0][0] != losses[1][0]


def test_on_features_the_classifier_stays_as_it_began_and_the_rest_does_not(tmp_path):
    first = pretrain_stage(stage(weight_decay=0.1), 2, on_features=True)
    _, student = train_on_features(first, tmp_path)
    torch.manual_seed(0)
    fresh = build_student(tiny_task.SMALL, DATA)
    for name, value in student.get_classifier().state_dict().items():
        assert torch.equal(value, fresh.get_classifier().state_dict()[name]), name
    assert not torch.equal(student.conv1[0].weight, fresh.conv1[0].weight)
    assert load_file(tmp_path / BEST).keys() == fresh.state_dict().keys()  # no projector


def test_its_last_weights_count_whatever_its_accuracies_were(task, tmp_path):
    first = pretrain_stage(stage(), 4, on_features=True)
    result = run(task, Candidate(stages=(first,)), tmp_path)
    accuracies = [epoch.val_accuracy for epoch in result.history]
    assert len(accuracies) == 4
    assert (tmp_path / BEST).read_bytes() == (tmp_path / LAST).read_bytes()


@pytest.mark.parametrize("on_features", [True, False], ids=["features", "logits"])
def test_the_student_goes_on_from_its_weights_and_ends_with_its_own_best(
    task, tmp_path, on_features
):
    """So slow that the weights stay as they are, but for batch norm's statistics."""
    slow = stage(epochs=1, learning_rate=1e-12)
    fast_first = pretrain_stage(stage(), 3, on_features=on_features)
    result = run(
        task, Candidate(stages=(fast_first, replace(slow, start_from=PRETRAIN))), tmp_path / "two"
    )
    alone = run(task, Candidate(stages=(fast_first,)), tmp_path / "one")
    assert [epoch.stage for epoch in result.history] == [PRETRAIN] * 3 + ["student"]
    assert without_seconds(result)[:3] == without_seconds(alone)
    assert result.val["accuracy"] == result.history[-1].val_accuracy  # not one of the first stage's
    before, after = (load_file(tmp_path / name / BEST) for name in ("one", "two"))
    torch.testing.assert_close(before["conv1.0.weight"], after["conv1.0.weight"])


@pytest.mark.parametrize("on_features", [True, False], ids=["features", "logits"])
def test_an_heir_inherits_before_it_and_goes_on_after_it(task, tmp_path, on_features):
    heir = stage(student=replace(tiny_task.SMALL, start=HEIR), start_from=TEACHER)
    still = replace(heir, training=replace(heir.training, learning_rate=1e-12))
    result = run(task, with_first_stage(still, on_features=on_features), tmp_path)
    assert result.state == "complete", result.reason
    trained = load_file(tmp_path / BEST)
    expected = build_student(tiny_task.SMALL, DATA)
    inherit(expected, task.teacher.model, classifier=True)
    for name, value in expected.named_parameters():
        torch.testing.assert_close(trained[name], value.detach(), msg=name)


def test_a_student_of_labels_alone_goes_on_from_it(tmp_path):
    """As fine-tuning would: nothing says that its own stage has a teacher."""
    labels = tiny_task.labels_alone(epochs=6, start_from=PRETRAIN)
    first = pretrain_stage(stage(), 1, on_features=True)
    result = run(make_task(DATA, tmp_path / "cache"), Candidate(stages=(first, labels)), tmp_path)
    assert result.val["accuracy"] > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("on_features", [True, False], ids=["features", "logits"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patience": 1, "learning_rate": 1e-12},
        {"loss_weights": {"ce": 1.0, "hint": 1.0}},
        {"ema": 0.9},
        {"student": replace(tiny_task.SMALL, start=HEIR), "start_from": TEACHER},
    ],
    ids=["plain", "patience", "hint", "average", "heir"],
)  # fmt: skip
def test_a_trial_in_steps_is_the_trial_in_one_go(task, tmp_path, changes, on_features):
    """With pauses in its first stage, between both, and in the second."""
    own = stage(epochs=4, augmentation="light", drop_rate=0.2, **changes)
    wanted = with_first_stage(own, on_features=on_features)
    whole = run(task, wanted, tmp_path / "whole")
    parts = in_steps(task, wanted, tmp_path / "parts", 1, 2, 3)
    assert whole.state == "complete", whole.reason
    assert without_seconds(parts) == without_seconds(whole)
    assert (parts.val, parts.audit) == (whole.val, whole.audit)
    for name in (BEST, LAST):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_pause_says_what_the_student_came_to_since(task, tmp_path):
    wanted = with_first_stage(stage(epochs=4), 3, on_features=False)
    paused = run_trial(wanted, task, number=0, seed=7, folder=tmp_path, until=5)
    assert paused.state == "stopped"
    own = [epoch.val_accuracy for epoch in paused.history if epoch.stage == "student"]
    assert len(own) == 2
    assert paused.val["accuracy"] == max(own)


def test_its_epochs_have_charts_of_their_own(task, tmp_path):
    result = run(task, with_first_stage(stage(), 2), tmp_path)
    steps = {}
    for point in trial_points(result):
        steps.setdefault(point.key, []).append(point.step)
    assert steps["pretrain/loss"] == steps["pretrain/learning_rate"] == [1, 2]
    assert steps["train/loss"] == steps["val/epoch_accuracy"] == [3, 4]


# in a space

ON_FEATURES = {"pretrain_epochs": [0, 2], "pretrain_on": ["logits", "features"]}

PRETRAINED = {
    "pretrain_epochs": [0, 2],
    "pretrain_on": ["features", "logits"],
    "assistants": [0, 1],
}


@given(seeds)
@settings(deadline=None, max_examples=60)
def test_only_candidates_with_a_teacher_have_it(seed):
    space = make_space(schedule=PRETRAINED, students__prune=[0.0, 0.3])
    candidate, trial = sample(space, seed)
    names = [each.name for each in candidate.stages]
    wanted = trial.params.get("schedule.pretrain_epochs", 0)
    assert (PRETRAIN in names) == bool(wanted)
    assert ("schedule.pretrain_on" in trial.params) == bool(wanted)
    if trial.params["distill.loss"] == "none":
        assert not wanted
    student = candidate.stage("student")
    assert candidate.pretrain_epochs == wanted
    assert student.start_from == (PRETRAIN if wanted else None)
    if wanted:
        first = candidate.stage(PRETRAIN)
        assert names[names.index(PRETRAIN) + 1] == "student"
        assert (first.student, first.teachers) == (student.student, student.teachers)
        assert ("pooled" in first.loss_weights) == (
            trial.params["schedule.pretrain_on"] == "features"
        )
        assert "→pre→S" in candidate.describe_stages()
    assert Candidate.from_params(candidate.to_params()) == candidate


def test_rungs_count_epochs_with_labels_and_estimates_count_all():
    space = make_space(schedule={"pretrain_epochs": 3, "finetune_epochs": 2}, distill__loss="kd")
    assert space.most_epochs == 6 + 2
    candidate = space.sample(centre)
    assert candidate.epochs == 4 + 3 + 2
    config = CONFIG.search
    assert least_share(config, epochs=9, first=1.0) == 1.0
    without = least_share(config, epochs=9)
    assert least_share(config, epochs=9, first=0.25) == pytest.approx(0.25 + 0.75 * without)


@pytest.mark.parametrize("first", [0, 3])
def test_a_trial_pauses_so_many_epochs_after_its_first_stage(first):
    config = override_config(
        CONFIG, {"train": {"epochs": EPOCHS}, "schedule": {"pretrain_epochs": first}}
    )
    ledger, executor = Ledger("sqlite:///", "made-up"), AtOnce()
    make_driver(ledger, settings=config, trials=12).run(executor)
    taught = [e for e in ledger.entries if not e.proposal.control and e.result.history]
    ways = {tuple(len(result.history) for result in entry.results) for entry in taught}
    rungs = tuple(first + epochs for epochs in (1, 3, EPOCHS))
    assert ways <= {rungs[:1], rungs[:2], rungs}
    assert rungs in ways
    assert ledger.epochs == sum(len(e.result.history) for e in ledger.entries)
    controls = [entry.proposal.candidate for entry in ledger.entries if entry.proposal.control]
    assert len(controls) == 4
    for candidate in controls:
        assert [each.name for each in candidate.stages] == ["student"]
        assert candidate.stages[0].start_from is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"distill__loss": "none", "schedule__pretrain_epochs": 2},
            r"^schedule\.pretrain_epochs: a student learns from a teacher there, and distill\.loss is "
            r"none; set it to 0, or add a loss$",
        ),
        (
            {"schedule__pretrain_on": "feature"},
            r"^schedule\.pretrain_on: unknown 'feature'; known: logits, features\. Did you mean",
        ),
        (
            {
                "teacher": {"ensemble": [{"model": "resnet", "train": {"epochs": 1}}] * 2},
                "schedule__pretrain_epochs": [0, 2],
                "schedule__pretrain_on": ["logits", "features"],
            },
            r"which schedule\.pretrain_on: features needs; take a single teacher, or set it to logits$",
        ),
    ],
)
def test_a_space_in_which_it_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_space(**changes)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, (0, False)),
        ({"schedule": {"pretrain_epochs": [0, 2]}}, (0, False)),
        ({"schedule": {"pretrain_on": "features"}}, (0, False)),
        ({"schedule": ON_FEATURES}, (0, True)),
        ({"schedule": ON_FEATURES, "distill__feature_loss": "hint"}, (1, False)),
        ({"schedule": ON_FEATURES, "distill__feature_loss": ["none", "hint"]}, (1, True)),
    ],
)
def test_models_are_asked_beforehand_for_the_features_that_it_compares(changes, needed):
    assert make_space(**changes).features_needed == needed


# teaching by features alone


def test_a_student_of_features_has_no_loss_on_logits_and_no_temperature():
    space = make_space(
        distill__loss=["none", "features"], distill__feature_loss=["pooled", "rkd"],
        distill__label_weight=0.5, schedule=PRETRAINED,
    )  # fmt: skip
    for seed in range(20):
        candidate, trial = sample(space, seed)
        if trial.params["distill.loss"] != "features":
            continue
        student = candidate.stage("student")
        assert student.loss_weights.keys() == {"ce", trial.params["distill.feature_loss"]}
        assert {"distill.temperature", "distill.weight"}.isdisjoint(trial.params)
        assert "schedule.pretrain_on" not in trial.params  # there is nothing but features
        if PRETRAIN in {each.name for each in candidate.stages}:
            first = candidate.stage(PRETRAIN)
            assert first.loss_weights.keys() == {trial.params["distill.feature_loss"]}


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, True),
        ({"loss_weights": {"ce": 1.0, "pooled": 1.0}}, False),
        ({"loss_weights": {"kd": 1.0}}, True),
        ({"teachers": (), "loss_weights": {"ce": 1.0}}, False),
    ],
)
def test_logits_are_asked_for_by_losses_on_them_alone(changes, asked):
    assert asks_logits(stage(**changes)) == asked


def test_a_teacher_of_features_is_never_asked_for_logits(tmp_path):
    task = make_task(DATA, tmp_path / "cache")
    by_features = stage(loss_weights={"ce": 0.5, "pooled": 1.0}, epochs=6)
    result = run(task, Candidate(stages=(by_features,)), tmp_path / "0")
    assert result.val["accuracy"] > 0.6  # chance: 0.25
    kept = [path.name.split("-")[0] for path in (tmp_path / "cache" / "logits").iterdir()]
    assert "features" in kept
    assert "logits" not in kept


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"distill__loss": ["kd", "features"], "distill__label_weight": 0.5},
            r"^distill\.loss: features teaches by distill\.feature_loss alone, and that may be none; "
            r"take none out of it, as in feature_loss: \[pooled, rkd\]$",
        ),
        (
            {"distill__loss": "features", "distill__feature_loss": "pooled"},
            r"^distill\.label_weight: labels alone train the classifier of a student with distill\.loss "
            r"features; set it above 0$",
        ),
    ],
)
def test_features_alone_are_refused_where_a_student_could_not_learn_to_classify(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_space(**changes)
