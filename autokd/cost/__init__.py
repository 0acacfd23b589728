"""What a student costs before it is trained: MACs, parameters, bytes and latency at batch 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from autokd.cost.fvcore_macs import count_with_fvcore
from autokd.cost.latency import Latency, describe_device, measure_latency, with_threads
from autokd.cost.macs import Count, InputShape, check_counts, count_on_meta
from autokd.cost.size import Weights, weight_bytes, weights_of
from autokd.records import Cost

__all__ = [
    "Count",
    "InputShape",
    "Latency",
    "Weights",
    "check_counts",
    "count_on_meta",
    "count_with_fvcore",
    "describe_device",
    "exact_cost",
    "measure_cost",
    "measure_latency",
    "sum_costs",
    "weight_bytes",
    "weights_of",
    "with_threads",
]


def exact_cost(
    build: Callable[[], nn.Module], input_shape: InputShape, *, weight_dtype: str = "fp32"
) -> Cost:
    """All costs that follow from shapes: some 50 ms for a small student, and no memory."""
    return _to_cost(count_on_meta(build, input_shape), weight_dtype)


def measure_cost(
    build: Callable[[], nn.Module],
    input_shape: InputShape,
    *,
    weight_dtype: str = "fp32",
    latency: bool,
    device: str = "cpu",
    threads: int = 1,
    check: bool = True,
) -> Cost:
    """`exact_cost`, and if asked the latency on `device`; `check` holds the MACs against fvcore's count.

    Either needs the model itself, with its memory. `build` is called for each, and its weights do not matter.
    """
    count = count_on_meta(build, input_shape)
    if not latency and not check:
        return _to_cost(count, weight_dtype)
    model = build()
    if check:
        check_counts(count, count_with_fvcore(model, input_shape))
    if not latency:
        return _to_cost(count, weight_dtype)
    measured = measure_latency(model, input_shape, device=device, threads=threads)
    return _to_cost(count, weight_dtype, measured)


def sum_costs(costs: Sequence[Cost]) -> Cost:
    """Of models that are asked one after the other. Their slowest tenths need not come together: there is no p90."""
    times = [cost.latency_ms for cost in costs]
    return Cost(
        macs=sum(cost.macs for cost in costs),
        params=sum(cost.params for cost in costs),
        size_bytes=sum(cost.size_bytes for cost in costs),
        weight_dtype=costs[0].weight_dtype,
        latency_ms=None if None in times else sum(time or 0.0 for time in times),
        device=costs[0].device,
        contended=any(cost.contended for cost in costs),
    )


def _to_cost(count: Count, weight_dtype: str, latency: Latency | None = None) -> Cost:
    return Cost(
        macs=count.macs,
        params=count.params,
        size_bytes=weight_bytes(count.weights, weight_dtype),
        weight_dtype=weight_dtype,
        latency_ms=latency.median_ms if latency else None,
        latency_p90_ms=latency.p90_ms if latency else None,
        device=latency.device if latency else None,
        contended=latency.contended if latency else False,
    )
