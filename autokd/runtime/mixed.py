"""int8 in two tries: all activations rounded; where that changes answers, those that change them most stay in float."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autokd.runtime.graph import METADATA_FLOATS, add_metadata
from autokd.runtime.quantise import quantise
from autokd.runtime.session import OnnxModel

ENOUGH = 0.97  # of calibration images have the float graph's answer: parity on val wants 0.95
GROUPS = 32  # of neighbouring activations, tried as one: so many tries, however deep a net
RANKING = 64  # calibration images that a group is tried on
STEPS = (1, 2, 4, 8, 12, 16, 24, GROUPS)  # groups in float, until it is enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """An int8 graph, and how near it comes to its float graph."""

    graph: bytes
    agreement: float  # share of the calibration images with the same answer
    whole: float  # the same with all activations rounded
    floats: int  # activations that stay in float; weights never do
    activations: int


def quantise_mixed(graph: bytes, batches: Sequence[Tensor]) -> Rounding:
    """Of an ONNX graph and calibration images as it takes them. Where rounding everything is good enough, `quantise`'s
    own bytes; weights are int8 in any case, so that the size is the same."""
    images = torch.cat([*batches])
    exact = OnnxModel(graph)(images)
    whole = quantise(graph, batches)
    found = Rounding(
        graph=whole,
        agreement=(first := _agreement(whole, images, exact)),
        whole=first,
        floats=0,
        activations=len(_rounded(whole)),
    )
    if first >= ENOUGH:
        return found
    separate = quantise(graph, batches, separate=True)
    count = len(_rounded(separate))
    groups = np.array_split(np.arange(count), min(GROUPS, count))
    worst = _ranked(separate, groups, images[:RANKING], exact[:RANKING])
    for step in STEPS:
        places = {int(place) for group in worst[:step] for place in groups[group]}
        mixed = _in_float(separate, places)
        agreement = _agreement(mixed, images, exact)
        if agreement > found.agreement:
            found = Rounding(
                graph=add_metadata(mixed, {METADATA_FLOATS: f"{len(places)} of {count}"}),
                agreement=agreement,
                whole=first,
                floats=len(places),
                activations=count,
            )
        if agreement >= ENOUGH or step >= len(groups):
            break
    return found


def _ranked(graph: bytes, groups: Sequence[Any], images: Tensor, exact: Tensor) -> list[int]:
    """Groups by what rounding each of them alone does to the logits, the worst first."""
    everything = {int(place) for group in groups for place in group}

    def error(group: Any) -> float:
        alone = _in_float(graph, everything - {int(place) for place in group})
        return float((OnnxModel(alone)(images) - exact).norm())

    errors = [error(group) for group in groups]
    return sorted(range(len(groups)), key=lambda place: -errors[place])


def _agreement(graph: bytes, images: Tensor, exact: Tensor) -> float:
    same = OnnxModel(graph)(images).argmax(dim=-1) == exact.argmax(dim=-1)
    return float(same.double().mean())


def _rounded(graph: bytes | Any) -> list[tuple[str, str, list[str]]]:
    """Activations that are rounded, in the order of the graph: name, its int8 form, and what is read in its place."""
    import onnx

    model = onnx.load_from_string(graph) if isinstance(graph, bytes) else graph
    nodes = model.graph.node
    return [
        (
            node.input[0],
            node.output[0],
            [n.output[0] for n in nodes if n.op_type == "DequantizeLinear" and n.input[0] == node.output[0]],
        )
        for node in nodes
        if node.op_type == "QuantizeLinear"
    ]  # fmt: skip


def _in_float(graph: bytes, places: Collection[int]) -> bytes:
    """Without the rounding of these activations: who read its result reads what was rounded."""
    import onnx

    model = onnx.load_from_string(graph)
    chosen = [each for place, each in enumerate(_rounded(model)) if place in places]
    ends = {value.name for value in model.graph.output}
    gone = {name for _, rounded, read in chosen for name in (rounded, *read)}
    nodes = [node for node in model.graph.node if not gone & {*node.output}]
    now: dict[str, str] = {}  # a name -> what stands in its place
    for source, _, read in chosen:
        for name in read:
            now |= {source: name} if name in ends else {name: source}
    for node in nodes:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                while name in now:
                    name = now[name]
                names[place] = name
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())
