"""Which candidates a search can afford: what many will share is not paid for by the first."""

from __future__ import annotations

from collections.abc import Callable, Collection

from autokd.engine.ledger import Ledger
from autokd.records import Candidate

MOST_SHARED = 0.25  # epochs of donors and assistants for each of the trials' own: a fifth of all


def affordable(ledger: Ledger, busy: Collection[int]) -> Callable[[Candidate], bool]:
    """Return whether a candidate's donor and assistants are there, or few enough epochs; `busy` are trials under way.

    What a busy trial has trained is not affordable meanwhile: another worker would wait for it.
    """
    awaited: dict[str, int] = {}
    for number in busy:
        awaited |= ledger.untrained(ledger.entries[number].proposal.candidate)
    most = MOST_SHARED * (ledger.epochs - ledger.shared_epochs)
    left = most - ledger.shared_epochs - sum(awaited.values())

    def affords(candidate: Candidate) -> bool:
        new = ledger.untrained(candidate)
        return not new or (sum(new.values()) <= left and not new.keys() & awaited.keys())

    return affords
