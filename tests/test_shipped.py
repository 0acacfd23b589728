"""A student in the precision that it ships in: measured so, on val and on test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_task import SMALL, candidate, make_data, make_task
from torch import nn

from autokd.cost import exact_cost
from autokd.evaluation import predict, score
from autokd.on_test import accuracy_on_test
from autokd.records import Candidate, TrialResult
from autokd.runtime import METADATA_FLOATS, quantise_mixed, read_metadata
from autokd.shipped import (
    CALIBRATION,
    INT8,
    calibration,
    load_shipped,
    round_to_half,
    to_int8,
)
from autokd.students import InputFormat
from autokd.task import Task
from autokd.teachers import build_student
from autokd.trial import run_trial

pytestmark = pytest.mark.slow

DATA = make_data(train=400)


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Task:
    return make_task(DATA, tmp_path_factory.mktemp("cache"))


def in_precision(precision: str) -> Candidate:
    wanted = candidate(epochs=4)
    (stage,) = wanted.stages
    return Candidate(stages=(replace(stage, student=replace(SMALL, precision=precision)),))


def load(wanted: Candidate, folder: str | Path) -> nn.Module:
    return load_shipped(
        wanted.stages[-1], Path(folder), DATA, device=torch.device("cpu"), threads=1
    )


@pytest.fixture(scope="module")
def results(task, tmp_path_factory) -> dict[str, TrialResult]:
    """The same training three times."""
    return {
        precision: run_trial(
            in_precision(precision),
            task,
            number=0,
            seed=3,
            folder=tmp_path_factory.mktemp(precision),
        )
        for precision in ("fp32", "fp16", "int8")
    }


def test_a_student_is_trained_alike_whatever_it_ships_in(results):
    histories = [[epoch.val_accuracy for epoch in result.history] for result in results.values()]
    assert histories[0] == histories[1] == histories[2]
    assert {result.state for result in results.values()} == {"complete"}


def test_its_accuracy_is_that_of_the_int8_graph_run_by_onnx_runtime_alone(results, task):
    result = results["int8"]
    graph = onnxruntime.InferenceSession(str(Path(result.folder) / INT8))
    shown = task.inputs(SMALL).prepare(torch.stack([*DATA.val.images]))
    (logits,) = graph.run(None, {"image": shown.contiguous().numpy()})
    right = np.argmax(logits, axis=1) == DATA.val.labels.numpy()
    assert result.val["accuracy"] == pytest.approx(right.mean())
    floats = torch.from_numpy(logits)
    assert result.val["loss"] == pytest.approx(score(floats, DATA.val.labels).loss, abs=1e-6)
    assert result.val["loss"] != results["fp32"].val["loss"]
    assert result.audit is not None


def test_test_is_answered_by_the_graph_too(results, task):
    result = results["int8"]
    graph = load(result.candidate, result.folder)
    logits = predict(graph, DATA.test, inputs=task.inputs(SMALL), device=task.device)
    assert accuracy_on_test(result, task) == score(logits, DATA.test.labels).accuracy


def test_costs_are_those_of_the_precision(results):
    costs = {name: result.cost for name, result in results.items()}
    assert costs["int8"].weight_dtype == "int8"
    assert costs["int8"].size_bytes < costs["fp16"].size_bytes < costs["fp32"].size_bytes
    assert 4 * costs["int8"].activation_bytes == costs["fp32"].activation_bytes
    assert costs["fp16"].activation_bytes == costs["fp32"].activation_bytes  # computed in fp32
    assert costs["int8"].macs == costs["fp32"].macs


def test_fp16_is_the_nearest_half(results, task):
    folder = results["fp16"].folder
    model = load(in_precision("fp16"), folder)
    exact = load(in_precision("fp32"), folder)
    for name, value in model.state_dict().items():
        full = exact.state_dict()[name]
        assert torch.equal(value, full.half().to(full.dtype)), name
    assert any(
        not torch.equal(a, b) for a, b in zip(model.parameters(), exact.parameters(), strict=True)
    )
    counts = [v for v in model.state_dict().values() if not v.is_floating_point()]
    round_to_half(model)
    assert all(torch.equal(a, b) for a, b in zip(counts, counts, strict=True))


def test_calibration_shows_the_same_train_images_each_time(task):
    inputs = task.inputs(SMALL)
    first, second = (torch.cat([*calibration(DATA.train, inputs)]) for _ in "ab")
    assert torch.equal(first, second)
    assert first.shape == (CALIBRATION, 1, 8, 8)
    few = make_data(train=40).train
    assert len(torch.cat([*calibration(few, inputs)])) == len(few)


def test_a_candidate_in_fp32_has_the_hash_that_it_had_before_there_was_a_choice():
    assert "precision" not in in_precision("fp32").stages[0].identity()["student"]
    hashes = {in_precision(precision).hash for precision in ("fp32", "fp16", "int8")}
    assert len(hashes) == 3
    again = Candidate.from_params(in_precision("int8").to_params())
    assert again == in_precision("int8")


def test_exact_costs_need_no_quantising():
    cost = exact_cost(lambda: build_student(SMALL, DATA), (1, 8, 8), precision="int8")
    assert cost.latency_ms is None


def test_a_student_of_a_search_rounds_every_activation_as_its_limits_counted_them():
    """One hidden value is so large that rounding spoils the others, and no logit looks at it."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4))
    with torch.no_grad():
        model[1].weight[0], model[3].weight[:, 0] = 1e4, 0
    inputs = InputFormat(image_size=8, mean=DATA.mean, std=DATA.std)
    graphs = {
        way: to_int8(model, DATA.train, inputs=inputs, **chosen)
        for way, chosen in {
            "search": {},
            "export": {"quantise": lambda *shown: quantise_mixed(*shown).graph},
        }.items()
    }
    assert METADATA_FLOATS in read_metadata(graphs["export"])
    assert METADATA_FLOATS not in read_metadata(graphs["search"])
