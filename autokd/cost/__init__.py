"""What a student costs as it ships: MACs, parameters, bytes, activations, and latency where a probe measures it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from autokd.cost.fvcore_macs import count_as_published, count_with_fvcore
from autokd.cost.latency import (
    EagerProbe,
    OnnxProbe,
    Probe,
    RemoteProbe,
    measure_latency,
    with_threads,
)
from autokd.cost.macs import Count, InputShape, check_counts, count_on_meta
from autokd.cost.size import ACTIVATION_BYTES, Weights, weight_bytes, weights_of
from autokd.records import Cost
from autokd.runtime.latency_server import Timing

__all__ = [
    "Count",
    "EagerProbe",
    "InputShape",
    "OnnxProbe",
    "Probe",
    "RemoteProbe",
    "Timing",
    "Weights",
    "check_counts",
    "count_as_published",
    "count_on_meta",
    "count_with_fvcore",
    "exact_cost",
    "measure_cost",
    "measure_latency",
    "sum_costs",
    "weight_bytes",
    "weights_of",
    "with_threads",
]


def exact_cost(
    build: Callable[[], nn.Module],
    input_shape: InputShape,
    *,
    precision: str = "fp32",
    trained: nn.Module | None = None,
) -> Cost:
    """All costs that follow from shapes: some 50 ms for a small student, and no memory.

    `trained`: the same model with its weights, in its deployed form. Raises CostError where fvcore counts other MACs or
    parameters in it.
    """
    count = count_on_meta(build, input_shape)
    if trained is not None:
        check_counts(count, count_with_fvcore(trained, input_shape))
    return _to_cost(count, precision)


def measure_cost(
    build: Callable[[], nn.Module],
    input_shape: InputShape,
    *,
    precision: str = "fp32",
    probe: Probe | None = None,
    key: str | None = None,
    folder: Path | None = None,
    decides: bool = True,
    check: bool = True,
) -> Cost:
    """`exact_cost`, and its latency by `probe` if there is one; `check` holds the MACs against fvcore's count.

    Either needs the model itself, with its memory. `build` makes the deployed form; it is called for each, and its weights do not
    matter. `key`, `folder` and `decides` as for `measure_latency`.
    """
    count = count_on_meta(build, input_shape)
    if check:
        check_counts(count, count_with_fvcore(build(), input_shape))
    timing = None
    if probe:
        timing = measure_latency(
            probe,
            build,
            input_shape,
            precision=precision,
            key=key,
            folder=folder,
            decides=decides,
        )
    return _to_cost(count, precision, timing)


def sum_costs(costs: Sequence[Cost]) -> Cost:
    """Of models that are asked one after the other. Their slowest tenths need not come together: there is no p90."""
    return Cost(
        macs=sum(cost.macs for cost in costs),
        params=sum(cost.params for cost in costs),
        size_bytes=sum(cost.size_bytes for cost in costs),
        activation_bytes=max(cost.activation_bytes or 0 for cost in costs),
        weight_dtype=costs[0].weight_dtype,
        latency_ms=_sum([cost.latency_ms for cost in costs]),
        latency_median_ms=_sum([cost.latency_median_ms for cost in costs]),
        device=costs[0].device,
        contended=any(cost.contended for cost in costs),
    )


def _sum(times: Sequence[float | None]) -> float | None:
    return None if None in times else sum(time or 0.0 for time in times)


def _to_cost(count: Count, precision: str, timing: Timing | None = None) -> Cost:
    return Cost(
        macs=count.macs,
        params=count.params,
        size_bytes=weight_bytes(count.weights, precision),
        activation_bytes=ACTIVATION_BYTES[precision] * count.activations,
        weight_dtype=precision,
        latency_ms=timing.min_ms if timing else None,
        latency_median_ms=timing.median_ms if timing else None,
        latency_p90_ms=timing.p90_ms if timing else None,
        memory_bytes=timing.memory_bytes if timing else None,
        reference_ms=timing.reference_ms if timing else None,
        device=timing.device if timing else None,
        contended=timing.contended if timing else False,
        pressure=timing.pressure if timing else None,
    )
