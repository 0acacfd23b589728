"""Where students start: whom each inherits from, in which order donors are looked for, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autokd.config import parse_config
from autokd.engine.controls import control_proposals
from autokd.engine.heritage import find_heirs
from autokd.engine.survey import survey
from autokd.errors import ConfigError
from autokd.records import DONOR, HEIR, PRETRAINED, TEACHER, Budget, Candidate, Cost, StudentSpec
from autokd.space import Space, Surroundings, centre

MEAN, STD = (0.3, 0.3, 0.3), (0.2, 0.2, 0.2)  # the data's
IMAGENET = (0.485, 0.456, 0.406)
RESNET = {"width": {"low": 8, "high": 32, "step": 8}, "depth": [1, 2], "stages": 3, "stem_stride": [1, 2]}  # fmt: skip
LARGE = StudentSpec(
    model="resnet",
    arguments={"width": 32, "depth": 2, "stages": 3, "stem_stride": 2},
    image_size=16,
)
TEACHER_OF_THEM = replace(LARGE, mean=(0.5, 0.5, 0.5), std=(0.1, 0.1, 0.1))


def space_of(*, teacher: StudentSpec | None = None, schedule: Any = None, **students: Any) -> Space:
    models = students.setdefault("model", "resnet")
    if models == "resnet" or "resnet" in [*models]:
        students.setdefault("families", {"resnet": RESNET})
    record = {
        "data": {"source": "digits"},
        "teacher": {"model": "resnet", "train": {"epochs": 1}},
        "students": {"start": HEIR} | students,
        "schedule": schedule or {},
        "train": {"epochs": 7},
    }
    around = Surroundings(channels=3, classes=10, mean=MEAN, std=STD, teacher=teacher)
    return Space(parse_config(record, source=""), image_size=16, around=around)


def draw(space: Space, *assistants: StudentSpec, **values: Any) -> Candidate:
    """At the centre of the space but for some values, `width=8` for `students.resnet.width`."""

    def suggest(name: str, distribution: Any) -> Any:
        return values.get(name.split(".")[-1], centre(name, distribution))

    return space.sample(suggest, lambda *_: assistants)


def test_without_the_key_students_start_from_random_weights_and_nothing_is_asked():
    space = space_of(start=None, teacher=TEACHER_OF_THEM)
    assert "students.start" not in space.distributions
    assert draw(space).stages[0].identity().keys().isdisjoint({"start", "mean"})
    assert (draw(space).student.start, draw(space).stages[0].start_from) == (None, None)


def test_the_teacher_of_the_family_is_the_first_donor_and_its_heirs_see_what_it_sees():
    (stage,) = draw(space_of(teacher=TEACHER_OF_THEM)).stages
    assert (stage.student.start, stage.start_from) == (HEIR, TEACHER)
    assert (stage.student.mean, stage.student.std) == ((0.5, 0.5, 0.5), (0.1, 0.1, 0.1))
    assert stage.student.describe().endswith("16 px, heir")


def test_an_heir_that_sees_what_the_data_are_names_no_normalisation():
    (stage,) = draw(space_of(teacher=replace(LARGE, mean=MEAN, std=STD))).stages
    assert (stage.student.mean, stage.student.std) == (None, None)


@pytest.mark.parametrize(
    "teacher",
    [
        None,
        replace(LARGE, arguments=dict(LARGE.arguments) | {"width": 8}),
        StudentSpec(
            model="convnext", arguments={"width": 64, "depth": 2, "patch_size": 2}, image_size=16
        ),
    ],
    ids=["none", "smaller", "of another class"],
)
def test_where_the_teacher_is_no_donor_the_largest_of_the_family_is_trained_on_labels(teacher):
    donor, student = draw(space_of(teacher=teacher), width=16, stem_stride=2).stages
    assert (donor.name, student.start_from) == (DONOR, DONOR)
    assert donor.student == LARGE
    assert (donor.teachers, donor.loss_weights, donor.training.epochs) == ((), {"ce": 1.0}, 7)


def test_a_stem_of_another_stride_makes_no_member_larger():
    donors = [draw(space_of(), stem_stride=stride).donor for stride in (1, 2)]
    assert [donor and donor.student.arguments["stem_stride"] for donor in donors] == [1, 2]


def test_all_heirs_of_one_geometry_share_a_donor():
    donors = [draw(space_of(), width=w, depth=d).donor for w in (8, 24) for d in (1, 2)]
    assert all(donor == donors[0] for donor in donors)


def test_the_assistant_nearest_in_size_is_a_donor_before_any_of_a_stage_of_its_own():
    larger = [replace(LARGE, arguments=dict(LARGE.arguments) | {"width": w}) for w in (32, 24)]
    schedule = {"assistants": 2}
    donor, first, second, student = draw(space_of(schedule=schedule), *larger, width=16).stages
    assert [s.start_from for s in (first, second, student)] == [
        DONOR,
        "assistant_1",
        "assistant_2",
    ]
    assert donor.student == LARGE
    assert first.student.start == second.student.start == HEIR


def test_assistants_start_as_their_student_does():
    space = space_of(start=["random", "heir"], schedule={"assistants": 1}, teacher=TEACHER_OF_THEM)
    for start, expected in (("random", (None, None)), ("heir", (HEIR, TEACHER))):
        assistant, student = draw(space, LARGE, start=start).stages
        assert (assistant.student.start, assistant.start_from) == expected
        assert (student.student.start, student.start_from) == expected


def test_an_assistant_that_would_need_a_second_donor_starts_from_random_weights():
    other = StudentSpec(
        model="convnext", arguments={"width": 64, "depth": 1, "patch_size": 2}, image_size=16
    )
    space = space_of(model=["resnet", "convnext"], schedule={"assistants": 1})
    donor, assistant, student = draw(space, other, model="resnet").stages
    assert (assistant.student.start, assistant.start_from) == (None, None)
    assert (student.start_from, donor.student.model) == (DONOR, "resnet")


LITE = {"width": {"low": 0.25, "high": 1.0, "step": 0.25}, "depth": 1.0, "padding": "same"}
NAME = "tf_efficientnet_lite0"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lite0.safetensors"
    path.write_bytes(b"weights")
    return path


def lite(file, **changes: Any) -> Space:
    return space_of(
        model="efficientnet_lite",
        families={"efficientnet_lite": LITE},
        pretrained={NAME: str(file)},
        **changes,
    )


@pytest.mark.parametrize("start", [None, HEIR])
def test_a_family_inherits_from_the_published_model_that_weights_are_given_of(file, start):
    donor, student = draw(lite(file, start=start)).stages
    assert (donor.student.model.partition(".")[0], donor.student.start) == (NAME, str(file))
    assert donor.training.epochs == 0
    assert (student.start_from, student.student.start) == (DONOR, HEIR)
    assert student.student.mean == donor.student.mean


def test_a_published_donor_is_trained_on_labels_first_where_the_file_says_so(file):
    donor, _ = draw(lite(file, schedule={"donor_epochs": 3})).stages
    assert donor.training.epochs == 3
    assert draw(space_of(schedule={"donor_epochs": 3})).stages[0].training.epochs == 3


def test_weights_of_its_own_come_before_any_donor():
    space = space_of(model=["resnet18"], pretrained=True, teacher=LARGE, start=["heir", "random"])
    heir, random = (draw(space, start=start) for start in ("heir", "random"))
    assert (heir.student.start, heir.student.mean) == (PRETRAINED, IMAGENET)
    assert (random.student.start, random.student.mean) == (None, None)
    assert len(heir.stages) == 1


def test_a_named_model_inherits_from_a_teacher_of_its_class():
    teacher = StudentSpec(model="resnet34", image_size=16, mean=MEAN, std=STD)
    (stage,) = draw(space_of(model="resnet18", teacher=teacher)).stages
    assert (stage.student.start, stage.start_from) == (HEIR, TEACHER)


@pytest.mark.parametrize("start", [HEIR, ["random", "heir"]])
def test_a_named_model_without_a_donor_is_refused_with_the_cure(start):
    with pytest.raises(
        ConfigError, match=r"relative that resnet18 could.*students\.pretrained: true"
    ):
        space_of(model="resnet18", start=start, teacher=TEACHER_OF_THEM)


def test_an_unknown_start_is_refused_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"students\.start: unknown 'her'; known: random, heir"):
        space_of(start="her")


def test_weights_of_a_model_that_nobody_inherits_from_are_refused(file):
    with pytest.raises(ConfigError, match=r"none of timm's models .* inherit from .*resnet"):
        space_of(pretrained={NAME: str(file)})


def cost(spec: StudentSpec) -> Cost:
    macs = int(spec.arguments["width"]) * int(spec.arguments["depth"])
    return Cost(macs=macs, params=macs, size_bytes=macs)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (["random", "heir"], ("random weights", "heir")),
        (["heir", "random"], ("heir", "random weights")),
        ("heir", ("heir", "random weights")),
    ],
)
def test_controls_without_distillation_start_both_ways_where_there_are_heirs(start, words):
    space = space_of(start=start, teacher=TEACHER_OF_THEM)
    controls = control_proposals(space, survey(space, cost, budget=Budget(), seed=0))
    assert [proposal.control for proposal in controls[:3]] == [
        f"no distillation, {words[0]}, large student",
        f"plain KD, {words[0]}, large student",
        f"no distillation, {words[1]}, large student",
    ]
    assert len(controls) == 6
    for proposal in controls:
        assert proposal.control is not None
        is_heir = "heir" in proposal.control
        (stage,) = proposal.candidate.stages
        assert (stage.student.start, stage.start_from) == ((HEIR, TEACHER) if is_heir else (None, None))  # fmt: skip
        assert proposal.params.keys() <= space.distributions.keys()
        if "students.start" in space.distributions:
            assert proposal.params["students.start"] == (HEIR if is_heir else "random")


def test_a_control_that_inherits_from_a_donor_has_its_stage():
    space = space_of()
    controls = control_proposals(space, survey(space, cost, budget=Budget(), seed=0))
    assert [stage.name for stage in controls[0].candidate.stages] == [DONOR, "student"]
    assert [stage.name for stage in controls[2].candidate.stages] == ["student"]


def test_a_candidate_with_a_donor_is_read_back_from_its_params():
    candidate = draw(space_of())
    assert Candidate.from_params(candidate.to_params()) == candidate
    assert candidate.describe_stages() == "T→S (from donor)"
    assert candidate.epochs == 7


def test_whom_a_surveys_heirs_inherit_from_is_said_by_model_and_donor():
    for space, expected in (
        (space_of(teacher=TEACHER_OF_THEM), "the teacher"),
        (
            space_of(families={"resnet": RESNET | {"stem_stride": 2}}),
            "resnet width=32 depth=2 stages=3 stem_stride=2, 16 px, trained on labels for 7 epochs",
        ),
    ):
        found = survey(space, cost, budget=Budget(), seed=0)
        (heirs,) = find_heirs(space, found, cost)
        assert heirs.sentence() == f"resnet inherits 100% of its weights from {expected}"
