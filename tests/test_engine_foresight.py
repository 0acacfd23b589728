"""Latency guessed from what was measured: near the truth, and only used against what is clearly too slow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine_records import SPACE, TEACHER_INFO, candidate_of, entry_of, made_up_cost, result_of

from autokd.engine.foresight import ENOUGH, learn_latency
from autokd.engine.ledger import Proposal
from autokd.engine.proposer import Proposer
from autokd.engine.scale import Scale
from autokd.records import Budget, Cost


def timed(macs: int, *, noise: float = 1.0, contended: bool = False) -> Cost:
    """A device that needs 0.1 ms and 10 ns a MAC."""
    return Cost(
        macs=macs, params=macs // 10, size_bytes=macs, activation_bytes=macs // 100,
        latency_ms=(0.1 + macs / 1e5) * noise, contended=contended,
    )  # fmt: skip


def results_of(costs):
    return [replace(result_of(n), cost=cost) for n, cost in enumerate(costs)]


MACS = [int(1e5 * 1.5**n) for n in range(14)]


def test_a_guess_is_near_what_would_be_measured_and_knows_its_error():
    noise = np.random.default_rng(0).normal(1, 0.03, len(MACS))
    known = learn_latency(results_of(timed(m, noise=n) for m, n in zip(MACS, noise, strict=True)))
    assert known.measured == len(MACS)
    unmeasured = replace(timed(2_000_000), latency_ms=None)
    assert known.guess(unmeasured) == pytest.approx(20.1, rel=0.15)
    assert 0.005 < known.median_error < 0.15


def test_only_what_is_clearly_over_the_limit_is_too_slow():
    noise = np.random.default_rng(0).normal(1, 0.1, len(MACS))
    known = learn_latency(results_of(timed(m, noise=n) for m, n in zip(MACS, noise, strict=True)))
    limit = 20.0
    assert known.is_too_slow(replace(timed(8_000_000), latency_ms=None), limit)
    assert not known.is_too_slow(replace(timed(2_050_000), latency_ms=None), limit)
    assert not known.is_too_slow(timed(8_000_000), limit), "what was measured needs no guess"


def test_few_architectures_busy_measurements_and_repeats_say_nothing():
    assert learn_latency(results_of(map(timed, MACS[: ENOUGH - 1]))) is None
    assert learn_latency(results_of([timed(MACS[0])] * 30)) is None
    assert learn_latency(results_of(timed(m, contended=True) for m in MACS)) is None
    assert learn_latency(results_of(replace(timed(m), latency_ms=None) for m in MACS)) is None


@pytest.mark.parametrize("sampler", ["forest", "tpe"])
def test_what_is_clearly_too_slow_is_not_proposed_while_anything_else_is(sampler):
    limit = 4.0  # 390 k MACs, of up to 14 M

    def entries():
        for n, width in enumerate(range(8, 96, 8)):
            candidate = candidate_of(width)
            cost = timed(made_up_cost(candidate.student).macs)
            result = replace(
                result_of(n), candidate=candidate, cost=cost, excess=Budget(latency_ms=limit).excess(cost),
                state="complete" if cost.latency_ms <= limit else "rejected",
            )  # fmt: skip
            yield entry_of(
                Proposal(
                    candidate=candidate,
                    params={
                        "students.resnet.width": width,
                        "students.resnet.depth": 1,
                        "students.resnet.stem_stride": 1,
                    },
                ),
                n,
                result,
            )

    def unmeasured(spec):
        return replace(timed(made_up_cost(spec).macs), latency_ms=None)

    def share_over(limit_known):
        over = 0
        for seed in range(40):
            proposer = Proposer(
                sample=SPACE.sample, exact_cost=unmeasured, distributions=SPACE.distributions,
                budget=Budget(latency_ms=limit) if limit_known else Budget(),
                scale=Scale(objectives=("val_accuracy", "macs"), teacher=TEACHER_INFO, classes=10),
                rungs=1, sampler=sampler, random_share=1.0, resamples=8,
            )  # fmt: skip
            proposal, _ = proposer.propose([*entries()], set(), seed=seed)
            over += timed(made_up_cost(proposal.candidate.student).macs).latency_ms > 2 * limit
        return over / 40

    assert share_over(limit_known=False) > 0.3
    assert share_over(limit_known=True) < 0.05
