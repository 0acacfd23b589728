"""Search files: what is accepted, and the one line that says what is wrong with the others."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autokd.config import load_config, override_config, parse_config
from autokd.errors import ConfigError
from autokd.parameters import Range
from autokd.records import COSTS, Budget
from autokd.space import Space, centre
from autokd.targets import TARGETS

SEARCH_FILES = sorted((Path(__file__).parent.parent / "search_spaces").glob("*.yaml"))
SMALLEST = {
    "data": {"source": "digits"},
    "teacher": {"model": "resnet", "train": {"epochs": 1}},
    "students": {"model": "resnet"},
}


def search_file(**changes):
    """The smallest search file with some values replaced; `train__epochs` is train.epochs."""
    record = copy.deepcopy(SMALLEST)
    for path, value in changes.items():
        *parents, key = path.split("__")
        section = record
        for parent in parents:
            section = section.setdefault(parent, {})
        section[key] = value
    return record


def refusal(**changes) -> str:
    with pytest.raises(ConfigError, match=r"^mine\.yaml: ") as refused:
        parse_config(search_file(**changes), source="mine.yaml")
    message = str(refused.value)
    assert "\n" not in message
    return message.removeprefix("mine.yaml: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"distil": {}},
            "top level: unknown key 'distil'; known keys: name, seed, data, teacher, budget, students, "
            "distill, schedule, train, audit, search. Did you mean 'distill'?",
            id="unknown section",
        ),
        pytest.param(
            {"data__metadata": {"path": "a.csv", "group": ["sex"]}},
            "data.metadata: unknown key 'group'; known keys: path, key, groups, cluster, bands. "
            "Did you mean 'groups'?",
            id="unknown key of a nested section",
        ),
        pytest.param(
            {"train__learning_rate": {"low": 1, "hgh": 2}},
            "train.learning_rate: unknown key 'hgh'; known keys: low, high, log, step. "
            "Did you mean 'high'? (and 1 more)",
            id="unknown key of a range",
        ),
        pytest.param(
            {"data__metadata": {"groups": ["sex"], "bands": {"age": [18]}}},
            "data.metadata: bands.age is no group; add 'age' to groups",
            id="bands of no group",
        ),
        pytest.param(
            {"data__metadata": {"groups": ["age"], "bands": {"age": [40, 18]}}},
            "data.metadata: bands.age must be rising numbers, got [40, 18]",
            id="falling bands",
        ),
        pytest.param(
            {"data__metadata": {"groups": ["age"], "bands": {"age": [float("nan")]}}},
            "data.metadata.bands.age.0: input should be a finite number, got nan (and 1 more)",
            id="a band at no number",
        ),
        pytest.param(
            {"data__metadata": {"groups": ["age"], "cluster": "age", "bands": {"age": [18]}}},
            "data.metadata: bands.age is the cluster, which must stay as it is",
            id="bands of the cluster",
        ),
        pytest.param(
            {"distill__mfd_weight": [0, 1]},
            "distill.mfd_weight: must be > 0, got 0",
            id="mfd without weight",
        ),
        pytest.param({"data": {}}, "data.source: is missing", id="missing key"),
        pytest.param(
            {"teacher__pretrained": True, "teacher__train": {"what": {"last": 0}}},
            "teacher.train.what.last: input should be greater than or equal to 1, got 0",
            id="no block",
        ),
        pytest.param(
            {"teacher__pretrained": True, "teacher__train": {"what": {"last": 2, "first": 1}}},
            "teacher.train.what: unknown key 'first'; known keys: last.",
            id="first blocks",
        ),
        pytest.param(
            {"train__epochs": True}, "train.epochs: must not be yes or no, got true", id="flag"
        ),
        pytest.param(
            {"students__prune": {"low": False, "high": 0.5}},
            "students.prune.low: must not be yes or no, got false",
            id="flag in a range",
        ),
        pytest.param(
            {"train__learning_rate": {"low": 1}},
            "train.learning_rate.high: is missing",
            id="no high",
        ),
        pytest.param(
            {"distill__temperature": {"low": 8, "high": 1}},
            "distill.temperature: low must be <= high, got low=8.0, high=1.0",
            id="low > high",
        ),
        pytest.param(
            {"train__weight_decay": {"low": 0, "high": 1, "log": True}},
            "train.weight_decay: log needs low > 0, got low=0.0",
            id="log from 0",
        ),
        pytest.param(
            {"students__families": {"resnet": {"width": {"low": 8, "high": 16, "step": 0}}}},
            "students.families.resnet.width: step must be > 0, got step=0",
            id="step 0",
        ),
        pytest.param(
            {"train__learning_rate": {"low": 1, "high": 2, "step": 1, "log": True}},
            "train.learning_rate: log and step can't be used together; leave one out",
            id="log and step",
        ),
        pytest.param(
            {"train__learning_rate": "fast"},
            "train.learning_rate: input should be a valid number, unable to parse string as a number, "
            "got 'fast'",
            id="text for a number",
        ),
        pytest.param(
            {"train__epochs": 1.5},
            "train.epochs: input should be a valid integer, got a number with a fractional part, got 1.5",
            id="half an epoch",
        ),
        pytest.param(
            {"train__learning_rate": [0.1, -1]},
            "train.learning_rate: must be > 0, got -1",
            id="one bad value in a list",
        ),
        pytest.param(
            {"train__drop_rate": {"low": 0, "high": 1}},
            "train.drop_rate: must be >= 0 and <= 0.9, got 1",
            id="range beyond the limit",
        ),
        pytest.param(
            {"train__batch_size": 1}, "train.batch_size: must be >= 2, got 1", id="batch of one"
        ),
        pytest.param(
            {"data": "digits"},
            "data: input should be a valid dictionary or instance of DataConfig, got 'digits'",
            id="text for a section",
        ),
        pytest.param(
            {"students__model": {"low": 1, "high": 2}},
            "students.model: must be a value or a list of values, got {'low': 1, 'high': 2}",
            id="range of names",
        ),
        pytest.param(
            {"train__precision": "fp16"},
            "train.precision: input should be 'auto', 'fp32' or 'bf16', got 'fp16'",
            id="one of a few words",
        ),
        pytest.param(
            {"budget__max_macs": "20 apples"},
            "budget.max_macs: expected 300M, 1.5G, 200k or a plain number, got '20 apples'",
            id="bad unit",
        ),
        pytest.param(
            {"budget__max_latency": "20MB"},
            "budget.max_latency: expected 20ms, 0.5s or a plain number of milliseconds, got '20MB'",
            id="unit of something else",
        ),
        pytest.param(
            {"teacher__checkpoint": "a.pt", "teacher__pretrained": True},
            "teacher: give exactly one of checkpoint, pretrained, train and ensemble, or pretrained "
            "with train to fine-tune, got checkpoint and pretrained and train",
            id="two teachers",
        ),
        pytest.param(
            {"teacher": {"model": "resnet"}},
            "teacher: give exactly one of checkpoint, pretrained, train and ensemble, or pretrained "
            "with train to fine-tune, got none",
            id="no weights",
        ),
        pytest.param(
            {"search__objectives": ["macs"]},
            "search: objectives must be two or three different ones, an accuracy among them, got [macs]",
            id="objectives without accuracy",
        ),
        pytest.param(
            {"train__epochs": 0, "search__trials": 0},
            "train.epochs: must be >= 1, got 0 (and 1 more)",
            id="two mistakes",
        ),
    ],
)
def test_a_mistake_is_answered_by_one_line_with_path_value_and_what_is_allowed(changes, message):
    assert refusal(**changes) == message


def test_an_empty_list_is_no_choice():
    assert refusal(train__learning_rate=[]).startswith("train.learning_rate: ")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: can't be read: No such file or directory"):
        load_config(tmp_path / "none.yaml")


def test_a_folder_is_no_search_file(tmp_path):
    with pytest.raises(ConfigError, match=rf"{tmp_path.name}: can't be read: Is a directory"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"data: [1, 2\nteacher: {", "is not valid YAML: .*line 2"),
        (b"data: !!python/object/apply:os.system ['true']", "is not valid YAML: .*constructor"),
        (b"\tdata: 1", "is not valid YAML: "),
        (b"- digits\n- resnet\n", "must hold keys such as data, teacher and students"),
        (b"", "must hold keys such as data, teacher and students"),
        (b"\xff\xfe\x00", "is not UTF-8 text; give a YAML file"),
        (b"data: \0", "is not valid YAML: unacceptable character #x0000"),
        (
            b"data: 1\nseed: 1\ndata: 2",
            "is not valid YAML: line 3, .*'data' is given twice.*line 1",
        ),
        (b"data: {source: a, source: b}", "is not valid YAML: .*'source' is given twice"),
        (
            b"seed: " + b"9" * 5000,
            r"is not valid YAML: line 1, column 7: '99.*99' looks like a num",
        ),
        (b"name: 2024-13-45", "is not valid YAML: .*'2024-13-45' looks like a number or a date"),
        (b"data: " + b"[" * 5000 + b"]" * 5000, "is not valid YAML: .* nested too deeply"),
        (b" " * 1_000_001, "is larger than 1,000,000 bytes; give a YAML file"),
        (b"data: &a {source: *a}", r"is not valid YAML: .*an alias \(\*name\) stands inside"),
        (
            b"a: &a [x, x]\n"
            + b"".join(
                b"%c: &%c [%b]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 9)) for c in b"bcdefghi"
            ),
            r"is not valid YAML: more than 100,000 values, with its aliases \(\*name\) written out",
        ),
    ],
)
def test_what_is_no_search_file_is_refused_in_one_line(tmp_path, content, problem):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}: {problem}") as refused:
        load_config(path)
    assert "\n" not in str(refused.value)


def test_aliases_and_merged_keys_stay_allowed(tmp_path):
    """A value that stands twice is the person's; a merged key may be given again, and counts then."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "data: {source: digits}\nteacher: {model: resnet, train: &t {epochs: 3}}\n"
        "students: {model: resnet}\ntrain: {<<: *t, batch_size: 32}\n"
    )
    config = load_config(path)
    assert (config.teacher.train.epochs, config.train.epochs, config.train.batch_size) == (3, 3, 32)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"distill": {"temperature": float("inf")}}, "distill.temperature"),
        ({"distill": {"temperature": [1, float("nan")]}}, "distill.temperature.1"),
        (
            {"train": {"learning_rate": {"low": 1e-3, "high": float("inf")}}},
            "train.learning_rate.high",
        ),
        ({"train": {"weight_decay": "1e400"}}, "train.weight_decay"),
        ({"audit": {"max_gap_growth": float("inf")}}, "audit.max_gap_growth"),
    ],
)
def test_infinity_is_no_value_of_any_key(changes, path):
    assert refusal(**changes).startswith(f"{path}: input should be a finite number, got ")


def test_a_seed_is_one_that_every_generator_takes():
    assert "seed: input should be less than 4294967296" in refusal(seed=2**32)


def test_a_message_shows_the_beginning_and_the_end_of_a_long_value():
    assert len(refusal(train={"epochs": ["x" * 10_000]})) < 250


def test_a_number_that_yaml_reads_as_text_is_a_number(tmp_path):
    path = tmp_path / "mine.yaml"
    rates = "train: {learning_rate: 3e-4, weight_decay: [1e-3, 0.1], epochs: 2}"
    path.write_text(yaml.safe_dump(SMALLEST) + rates)
    train = load_config(path).train
    assert (train.learning_rate, train.weight_decay, train.epochs) == (3e-4, (1e-3, 0.1), 2)


def test_a_range_of_whole_numbers_stays_whole_and_any_other_does_not():
    families = {"resnet": {"width": {"low": 8, "high": 16}, "depth": {"low": "1e-1", "high": 2}}}
    own = parse_config(search_file(students__families=families), source="").students.families
    assert own["resnet"] == {
        "width": Range[int](low=8, high=16),
        "depth": Range[float](low=0.1, high=2),
    }


def test_a_search_is_named_by_its_file_unless_it_says_otherwise(tmp_path):
    path = tmp_path / "lenses.yaml"
    path.write_text(yaml.safe_dump(SMALLEST))
    assert load_config(path).name == "lenses"
    path.write_text(yaml.safe_dump(SMALLEST | {"name": "glasses"}))
    assert load_config(path).name == "glasses"


def test_a_small_file_has_defaults_for_the_rest():
    config = parse_config(SMALLEST, source="")
    assert (config.distill.loss, config.distill.temperature) == ("kd", 4.0)
    assert config.search.objectives == ("val_accuracy", "macs")
    assert config.schedule.assistants == 0
    assert config.budget.to_budget() == Budget()


def test_limits_are_kept_in_base_units():
    limits = {"max_macs": "300M", "max_latency": "0.5s", "max_size": "1MiB", "max_params": 5000}
    config = parse_config(search_file(budget=limits), source="")
    assert config.budget.to_budget() == Budget(
        macs=3e8, params=5e3, latency_ms=500, size_bytes=2**20
    )


@given(
    rate=st.floats(1e-9, 1e3),
    trials=st.integers(1, 10**6),
    epochs=st.integers(1, 99) | st.lists(st.integers(1, 99), min_size=1, max_size=3),
    low=st.integers(1, 9),
    width=st.integers(0, 9),
    macs=st.floats(1, 1e12),
)
@settings(deadline=None, max_examples=40)
def test_a_config_comes_back_from_the_file_that_it_is_written_to(
    rate, trials, epochs, low, width, macs
):
    config = parse_config(
        search_file(
            train__learning_rate=rate,
            train__epochs=epochs,
            search__trials=trials,
            budget__max_macs=macs,
            students__families={"resnet": {"width": {"low": low, "high": low + width}}},
        ),
        source="",
    )
    written = yaml.safe_dump(config.model_dump(mode="json"))
    assert parse_config(yaml.safe_load(written), source="") == config


def test_overrides_replace_values_and_are_checked_like_the_file():
    config = parse_config(SMALLEST, source="")
    overrides = {"search": {"trials": 7}, "budget": {"max_macs": "2M"}, "": {"seed": 3}}
    changed = override_config(config, overrides)
    assert (changed.search.trials, changed.budget.max_macs, changed.seed) == (7, 2e6, 3)
    with pytest.raises(ConfigError, match=r"^command line: budget\.max_macs: expected 300M"):
        override_config(config, {"budget": {"max_macs": "much"}})


def test_an_override_of_none_leaves_the_value_as_it_is():
    config = parse_config(search_file(search__trials=9), source="")
    assert override_config(config, {"search": {"trials": None, "time": None}, "": {}}) == config


@pytest.mark.parametrize("path", SEARCH_FILES, ids=lambda path: path.stem)
def test_every_search_file_of_the_repository_loads_and_samples(path):
    space = Space(load_config(path), image_size=32)
    candidate = space.sample(centre)
    assert candidate.student.model in space.models
    assert space.distributions


def test_the_repository_has_search_files():
    assert SEARCH_FILES


def test_a_familys_parameter_may_be_written_as_a_power_of_ten():
    students = {"model": "resnet", "families": {"resnet": {"width": "1.6e1"}}}
    config = parse_config(search_file(students=students), source="f.yaml")
    assert config.students.families["resnet"]["width"] == 16.0


def test_a_search_is_named_after_its_file_whatever_that_is_called(tmp_path):
    path = tmp_path / "my phone (v2).yaml"
    path.write_text(yaml.safe_dump(search_file()))
    assert load_config(path).name == "my-phone-v2"


def test_a_target_gives_its_limits_where_the_file_gives_none():
    assert budget_of(target="micro") == Budget(size_bytes=1e6, activation_bytes=256e3)
    assert budget_of(target="micro", max_size="500kB").size_bytes == 5e5
    assert all(target.source and {*target.limits} <= {*COSTS} for target in TARGETS.values())


def test_flops_are_two_for_each_mac():
    assert budget_of(max_flops="600M") == budget_of(max_macs="300M") == Budget(macs=3e8)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (
            {"max_macs": 1, "max_flops": 2},
            "budget: give one of max_macs and max_flops; 1 MAC is 2 FLOPs",
        ),
        ({"device": "http://pi:8777", "runtime": "pytorch"}, "runs onnxruntime, not pytorch"),
        ({"device": "pi:8777"}, "budget.device: "),
        (
            {"target": "toaster"},
            "budget.target: input should be 'micro', 'mobile', 'edge-gpu' or 'server'",
        ),
    ],
)
def test_budgets_that_contradict_themselves_are_refused(budget, message):
    with pytest.raises(ConfigError, match=message):
        budget_of(**budget)


def test_int8_is_not_timed_by_pytorch():
    record = {"data": {"source": "digits"}, "teacher": {"model": "resnet", "train": {}},
              "students": {"model": "resnet", "precision": ["fp32", "int8"]},
              "budget": {"runtime": "pytorch"}}  # fmt: skip
    assert parse_config(record, source="a.yaml").students.precision == ("fp32", "int8")
    record["budget"]["max_latency"] = "3ms"
    with pytest.raises(ConfigError, match=r"^a\.yaml: budget\.runtime: pytorch times no int8"):
        parse_config(record, source="a.yaml")


def budget_of(**budget) -> Budget:
    record = {"data": {"source": "digits"}, "teacher": {"model": "resnet", "train": {}}, "students": {"model": "resnet"}}  # fmt: skip
    return parse_config(record | {"budget": budget}, source="a.yaml").budget.to_budget()
