"""The space: what is sampled lies in it, and what makes no sense is refused before the first trial."""

from __future__ import annotations

import copy

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.config import parse_config
from autokd.engine.proposer import suggest_from
from autokd.errors import ConfigError
from autokd.feature_losses import FEATURE_LOSSES
from autokd.parameters import Range
from autokd.records import TEACHER, Candidate, StudentSpec
from autokd.space import Space, centre, to_distribution

RICH = {
    "data": {"source": "digits"},
    "teacher": {"model": "resnet", "train": {"epochs": 1}},
    "students": {
        "model": ["resnet", "convnext", "test_vit"],
        "image_size": [8, 16],
        "families": {
            "resnet": {
                "width": {"low": 8, "high": 32, "step": 8},
                "depth": [1, 2],
                "stages": 3,
                "stem_stride": 1,
            },
            "convnext": {"width": 16, "depth": 1, "patch_size": [1, 2]},
        },
    },
    "distill": {
        "loss": ["none", "kd"],
        "temperature": {"low": 1, "high": 8, "log": True},
        "weight": {"low": 0.3, "high": 3, "log": True},
        "label_weight": [0, 0.5],
    },
    "schedule": {"assistants": [0, 1, 2], "finetune_epochs": [0, 2]},
    "train": {
        "epochs": {"low": 2, "high": 6},
        "learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
        "augmentation": ["light", "none"],
    },
}
ASSISTANTS = (
    StudentSpec(model="resnet", arguments={"width": 64}, image_size=8),
    StudentSpec(model="resnet", arguments={"width": 48}, image_size=8),
)


def make_space(**changes) -> Space:
    """RICH with some values replaced; `train__epochs` is train.epochs, None takes a key away."""
    record = copy.deepcopy(RICH)
    for path, value in changes.items():
        *parents, key = path.split("__")
        section = record
        for parent in parents:
            section = section[parent]
        if value is None:
            del section[key]
        else:
            section[key] = value
    return Space(parse_config(record, source="mine.yaml"), image_size=8)


def choose(student: StudentSpec, count: int):
    return ASSISTANTS[:count]


def sample(space: Space, seed: int):
    """A random candidate and what it was asked for."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    return space.sample(suggest_from(trial), choose), trial


SPACE = make_space()
seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(deadline=None, max_examples=60)
def test_every_sampled_candidate_lies_in_its_space(seed):
    candidate, trial = sample(SPACE, seed)
    for name, value in trial.params.items():
        distribution = SPACE.distributions[name]
        assert trial.distributions[name] == distribution
        assert distribution._contains(distribution.to_internal_repr(value)), name
    stage = next(stage for stage in candidate.stages if stage.name == "student")
    training = stage.training
    assert stage.student.model in SPACE.models
    assert stage.student.image_size in (8, 16)
    assert 2 <= training.epochs <= 6
    assert 1e-3 <= training.learning_rate <= 1e-1
    assert training.augmentation in ("light", "none")
    assert all(weight > 0 for weight in stage.loss_weights.values())


@given(seeds)
@settings(deadline=None, max_examples=60)
def test_a_parameter_that_a_candidate_has_not_is_not_asked_for(seed):
    candidate, trial = sample(SPACE, seed)
    asked = trial.params
    others = {"resnet", "convnext"} - {candidate.student.model}
    assert not [name for name in asked if name.split(".")[1] in others]
    if asked["distill.loss"] == "none":
        assert not {"distill.temperature", "distill.weight", "distill.label_weight"} & set(asked)


@given(seeds)
@settings(deadline=None, max_examples=60)
def test_a_student_of_labels_alone_has_no_teacher_and_trains_no_assistant(seed):
    candidate, trial = sample(SPACE, seed)
    if trial.params["distill.loss"] == "none":
        assert "schedule.assistants" not in trial.params
        assert all(not stage.teachers for stage in candidate.stages)
        assert candidate.stages[0].name == "student"
        assert candidate.stages[0].loss_weights == {"ce": 1.0}


@given(seeds)
@settings(deadline=None, max_examples=60)
def test_stages_are_a_chain_from_the_teacher_to_the_student(seed):
    candidate, _ = sample(SPACE, seed)
    expected = (TEACHER,)
    for stage in candidate.stages:
        if stage.name == "finetune":
            assert stage.teachers == ()
            assert stage.start_from == "student"
        elif stage.teachers:
            assert stage.teachers == expected
            expected = (stage.name,)


def dense_space(*guidance: str, assistants: int = 2) -> Space:
    schedule = {"assistants": assistants, "guidance": [*guidance], "teacher_drop": [0.25, 0.5]}
    return make_space(schedule=schedule, distill__loss="kd")


def test_with_dense_guidance_all_larger_models_teach():
    first, second, student = sample(dense_space("dense"), 0)[0].stages
    assert (first.teachers, first.teacher_drop) == ((TEACHER,), 0.0)
    assert (second.teachers, second.teacher_drop) == ((TEACHER, "assistant_1"), 0.25)
    assert student.teachers == (TEACHER, "assistant_1", "assistant_2")


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_guidance_is_asked_for_where_there_is_a_choice_of_teachers(seed):
    candidate, trial = sample(dense_space("chain", "dense"), seed)
    asked, student = trial.params, candidate.stages[-1]
    assert ("schedule.teacher_drop" in asked) == (asked["schedule.guidance"] == "dense")
    assert student.teacher_drop == asked.get("schedule.teacher_drop", 0.0)
    _, alone = sample(dense_space("chain", "dense", assistants=0), seed)
    assert not {"schedule.guidance", "schedule.teacher_drop"} & {*alone.params}


def test_an_unknown_guidance_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"schedule\.guidance: unknown 'dens'.*chain, dense"):
        dense_space("dens")


@given(seeds, seeds)
@settings(deadline=None, max_examples=40)
def test_assistants_are_trained_alike_for_all_trials_so_that_they_are_shared(first, second):
    assistants = [
        {stage.name: stage for stage in sample(SPACE, seed)[0].stages if "assistant" in stage.name}
        for seed in (first, second)
    ]
    for name in assistants[0].keys() & assistants[1].keys():
        assert assistants[0][name] == assistants[1][name]


def test_an_assistant_is_trained_at_the_centre_of_the_space():
    space = make_space(schedule__assistants=1, distill__loss="kd", schedule__finetune_epochs=0)
    assistant, student = space.sample(
        lambda _, d: d.high if hasattr(d, "high") else d.choices[-1], choose
    ).stages
    assert assistant.training.learning_rate == pytest.approx(1e-2)
    assert assistant.training.epochs == 4
    assert student.training.learning_rate == pytest.approx(1e-1)
    assert student.teachers == ("assistant_1",)


def test_assistants_have_their_own_number_of_epochs_where_the_file_gives_one():
    schedule = {"assistants": 2, "assistant_epochs": 9}
    space = make_space(schedule=schedule, distill__loss="kd")
    assert [stage.training.epochs for stage in space.sample(centre, choose).stages] == [9, 9, 4]


def test_fine_tuning_goes_on_ten_times_slower_with_all_else_equal():
    space = make_space(schedule={"finetune_epochs": 3})
    student, finetune = space.sample(centre).stages
    assert finetune.training.epochs == 3
    assert finetune.training.learning_rate == pytest.approx(student.training.learning_rate / 10)
    assert finetune.student == student.student


def make_fair_space(*mitigations: str, **changes) -> Space:
    distill = {"loss": ["kd", "none"], "mitigation": [*mitigations], "mfd_weight": [0.1, 1.0]}
    return make_space(distill=distill, **changes)


@given(seeds)
@settings(deadline=None, max_examples=60)
def test_a_mitigation_is_sampled_where_there_is_a_teacher_and_its_weight_where_it_is_mfd(seed):
    candidate, trial = sample(make_fair_space("none", "group_dro", "mfd"), seed)
    asked = trial.params
    assert ("distill.mitigation" in asked) == (asked["distill.loss"] == "kd")
    assert ("distill.mfd_weight" in asked) == (asked.get("distill.mitigation") == "mfd")
    for stage in candidate.stages:
        if stage.teachers:  # assistants hand down what they do to a group
            assert stage.mitigation == asked["distill.mitigation"]
        assert ("mfd" in stage.loss_weights) == (stage.mitigation == "mfd")
    student = next(stage for stage in candidate.stages if stage.name == "student")
    if student.mitigation == "mfd":
        assert student.loss_weights["mfd"] == asked["distill.mfd_weight"]


def test_trials_with_the_same_mitigation_share_their_assistants():
    space = make_fair_space("none", "mfd", schedule={"assistants": 1})
    first = [sample(space, seed)[0].stages[0] for seed in range(40)]
    assistants = [stage for stage in first if stage.name == "assistant_1"]
    distinct = [stage for i, stage in enumerate(assistants) if stage not in assistants[:i]]
    assert sorted(stage.mitigation for stage in distinct) == ["mfd", "none"]
    assert len(assistants) > 2


@pytest.mark.parametrize(
    ("mitigation", "kept"),
    [
        ("balanced_sampling", "balanced_sampling"),
        ("group_dro", "group_dro"),
        ("adaptive_alpha", "none"),  # it needs a teacher
        ("mfd", "none"),
    ],
)
def test_fine_tuning_keeps_a_mitigation_that_works_with_labels_alone(mitigation, kept):
    space = make_fair_space(mitigation, schedule={"finetune_epochs": 3})
    student, finetune = space.sample(centre).stages
    assert (student.mitigation, finetune.mitigation) == (mitigation, kept)
    assert finetune.loss_weights == {"ce": 1.0}


def test_without_a_word_about_it_there_is_no_mitigation():
    assert {stage.mitigation for stage in make_space().sample(centre, choose).stages} == {"none"}


def test_a_label_weight_of_zero_leaves_the_labels_out():
    space = make_space(distill__loss="kd", distill__label_weight=0, schedule={"assistants": 0})
    (stage,) = space.sample(centre).stages
    assert list(stage.loss_weights) == ["kd"]


def test_names_are_paths_of_the_search_file_and_do_not_change():
    assert sorted(SPACE.distributions) == [
        "distill.label_weight",
        "distill.loss",
        "distill.temperature",
        "distill.weight",
        "schedule.assistants",
        "schedule.finetune_epochs",
        "students.convnext.patch_size",
        "students.image_size",
        "students.model",
        "students.resnet.depth",
        "students.resnet.width",
        "train.augmentation",
        "train.epochs",
        "train.learning_rate",
    ]


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_a_fixed_parameter_is_never_asked_for(seed):
    candidate, trial = sample(SPACE, seed)
    fixed = {"students.resnet.stages", "students.convnext.width", "train.batch_size"}
    assert not fixed & set(trial.params)
    assert candidate.stages[-1].training.batch_size == 128


@pytest.mark.parametrize(
    "parameter", [4, "kd", ("kd",), (2, 2), Range[int](low=3, high=3), Range[float](low=1, high=1)]
)
def test_one_choice_is_no_choice(parameter):
    assert to_distribution("x", parameter) is None


def test_students_without_their_own_size_have_the_datas():
    space = make_space(students__image_size=None)
    assert space.sample_student(centre).image_size == 8


@pytest.mark.parametrize(
    ("distribution", "value"),
    [
        (FloatDistribution(1, 9), 5),
        (FloatDistribution(1, 9, log=True), 3.0),
        (FloatDistribution(0.5, 2.5, step=0.5), 1.5),
        (IntDistribution(8, 24, step=8), 16),
        (IntDistribution(4, 16, log=True), 8),
        (CategoricalDistribution(("b", "a")), "b"),
    ],
)
def test_the_centre_is_the_middle_of_a_range_and_the_first_of_a_list(distribution, value):
    assert centre("x", distribution) == value


ranges = st.tuples(st.integers(1, 50), st.integers(1, 9), st.integers(1, 9))


@given(ranges, st.booleans())
@settings(deadline=None)
def test_the_centre_of_any_range_lies_in_it(numbers, log):
    low, step, count = numbers
    high = low + step * count
    for distribution in (
        IntDistribution(low, high, log=log, step=1 if log else step),
        FloatDistribution(low, high, log=log, step=None if log else step),
    ):
        value = centre("x", distribution)
        assert distribution._contains(distribution.to_internal_repr(value))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"distill__loss": "kdd"},
            r"^distill\.loss: unknown 'kdd'; known: kd, dkd, dist, lskd, features, none\. Did you mean 'kd'\?$",
        ),
        (
            {"distill__mitigation": ["none", "grup_dro"]},
            r"^distill\.mitigation: unknown 'grup_dro'; known: none, balanced_sampling, adaptive_alpha, "
            r"group_dro, mfd\. Did you mean 'group_dro'\?$",
        ),
        (
            {"distill": {"loss": "none", "mitigation": "mfd"}},
            r"^distill\.mitigation: only students with a teacher have one, and distill\.loss is none; "
            r"set it to none, or add a loss$",
        ),
        (
            {"train__augmentation": ["ligth"]},
            r"^train\.augmentation: unknown 'ligth'; known: none, light, .* Did you mean 'light'\?$",
        ),
        (
            {"train__optimizer": "adamv"},
            r"^train\.optimizer: unknown 'adamv'; known: \d+ names, among them .*Did you mean 'adam",
        ),
        (
            {"students__model": ["resnet", "convnext", "nett"]},
            r"^students\.model: unknown model 'nett'",
        ),
        (
            {"students__model": ["resnet", "convnext", "zz*"]},
            r"^students\.model: no timm model matches 'zz\*'",
        ),
        (
            {"students__model": "resnet"},
            r"^students\.families\.convnext: is not in students\.model; add it there$",
        ),
        (
            {"students__families": {"resnett": {}}},
            r"^students\.families: unknown 'resnett'; known: .* Did you mean 'resnet'\?$",
        ),
        (
            {"students__families": {"resnet": {"widht": 8}}},
            r"^students\.families\.resnet: unknown 'widht'; known: width, .* Did you mean 'width'\?$",
        ),
        (
            {"students__families": {"resnet": {"width": {"low": 8, "high": 20, "step": 5}}}},
            r"^students\.resnet\.width: .*step",
        ),
        (
            {"train__learning_rate": {"low": 0.1, "high": 1, "step": 0.4}},
            r"^train\.learning_rate: .*step",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_path_and_the_nearest_name(changes, message):
    with pytest.raises(ConfigError, match=message) as refused:
        make_space(**changes)
    assert "\n" not in str(refused.value)


def test_every_model_at_every_size_is_listed_for_a_trial_build():
    choices = SPACE.buildable_choices()
    pairs = {(c["students.model"], c["students.image_size"]) for c in choices}
    assert len(choices) == len(pairs) == 6
    ends = make_space(students__image_size={"low": 8, "high": 32}).buildable_choices()
    assert {c["students.image_size"] for c in ends} == {8, 32}


MENU = {
    "distill__loss": ["none", "kd", "dkd", "dist", "lskd"],
    "distill__label_weight": 0.5,
    "distill__dkd": {"alpha": [1.0, 2.0], "beta": {"low": 0.5, "high": 10, "log": True}},
    "distill__dist": {"beta": 1, "gamma": [1, 2]},
    "distill__feature_loss": ["none", "hint", "at", "sp", "rkd", "pooled"],
    "distill__feature_weight": {"low": 0.1, "high": 10, "log": True},
    "distill__taps": [1, 2],
    "distill__balance": ["fixed", "linear", "cosine", "gradient"],
    "distill__warmup": [0.0, 0.2],
    "distill__until": [0.6, 1.0],
    "train__mixup": [0.0, 0.2],
    "train__cutmix": [0.0, 1.0],
    "train__ema": [0.0, 0.99],
    "train__clip_norm": [0.0, 1.0],
}


@given(seeds)
@settings(deadline=None, max_examples=100)
def test_of_the_whole_menu_a_candidate_is_asked_only_for_what_it_has(seed):
    candidate, trial = sample(make_space(**MENU), seed)
    stage = next(stage for stage in candidate.stages if stage.name == "student")
    asked, loss = trial.params, trial.params["distill.loss"]
    assert ("distill.dkd.beta" in asked) == (loss == "dkd")
    assert ("distill.dist.gamma" in asked) == (loss == "dist")
    assert ("train.mixup" in asked) == (loss != "dkd")
    if loss == "none":
        assert set(stage.loss_weights) == {"ce"}
        return
    feature = asked["distill.feature_loss"]
    assert set(stage.loss_weights) == {"ce", loss} | ({feature} - {"none"})
    assert ("distill.taps" in asked) == (feature in ("hint", "at", "sp"))
    if feature != "none":
        usual = FEATURE_LOSSES[feature].weight
        assert stage.loss_weights[feature] == usual * asked["distill.feature_weight"]
    if loss == "dkd":
        arguments = {"alpha": asked["distill.dkd.alpha"], "beta": asked["distill.dkd.beta"]}
        assert stage.loss_arguments == {"dkd": arguments}
        assert not stage.training.mixup
    assert stage.balance == asked["distill.balance"]
    assert (stage.teacher_warmup, stage.teacher_until) == (
        asked["distill.warmup"],
        asked["distill.until"],
    )
    assert (stage.training.ema, stage.training.clip_norm) == (
        asked["train.ema"],
        asked["train.clip_norm"],
    )
    assert Candidate.from_params(candidate.to_params()) == candidate


def test_mixed_images_have_no_group_that_a_mitigation_could_weigh():
    space = make_space(train__mixup=0.2, distill__loss="kd", distill__mitigation="group_dro")
    assert space.sample(centre).stages[0].training.mixup == 0
    assert make_space(train__mixup=0.2).sample(centre).stages[0].training.mixup == 0.2


@pytest.mark.parametrize(
    ("changes", "live"),
    [
        ({}, False),
        ({"train__mixup": [0.0, 0.2]}, True),
        ({"distill__feature_loss": ["none", "hint"]}, True),
        ({"distill__feature_loss": "rkd"}, False),
        ({"distill__loss": "none", "train__mixup": 0.2}, False),
    ],
)
def test_a_space_knows_whether_some_candidate_asks_its_teacher_live(changes, live):
    assert make_space(**changes).may_ask_live == live


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"distill__feature_loss": "hints"},
            r"^distill\.feature_loss: unknown 'hints'; known: hint, at, .* Did you mean 'hint'\?$",
        ),
        (
            {"distill__balance": "liner"},
            r"^distill\.balance: unknown 'liner'; known: fixed, .* Did you mean 'linear'\?$",
        ),
        (
            {"distill__loss": "dkd", "train__cutmix": 1.0},
            r"^train\.cutmix: dkd needs one label an image, .*; set it to 0, or add another",
        ),
        (
            {
                "teacher": {"ensemble": [{"model": "resnet", "train": {"epochs": 1}}] * 2},
                "distill__feature_loss": ["none", "sp"],
            },
            r"^teacher\.ensemble: several models have no features in common, which sp needs",
        ),
        (
            {"distill__until": [0.5, 1.0]},
            r"^distill\.until: nothing is left to learn from after the teacher where distill\.label",
        ),
    ],
)
def test_what_a_menu_can_not_combine_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_space(**changes)


def test_two_classes_are_refused_where_a_loss_needs_three():
    record = RICH | {"distill": {"loss": ["kd", "dkd", "lskd"]}}
    config = parse_config(record, source="mine.yaml")
    with pytest.raises(ConfigError, match=r"^distill\.loss: dkd, lskd need three classes or more"):
        Space(config, image_size=8, classes=2)
    Space(config, image_size=8, classes=3)
