"""A checksum in each event of the ledger: what is read is what was written, or the event is named."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

_SEAL = re.compile(r'(?:, )?"checksum": "([0-9a-f]{16})"\}$')
# what a record that is not as it was written may raise while it is understood
MISREAD = (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError)

Where = tuple[str, int, str, int | None, float]  # study, place, kind, trial, clock


def seal(record: str, where: Where) -> str:
    """The JSON of an object with its checksum as the last member."""
    comma = "" if record == "{}" else ", "
    return f'{record[:-1]}{comma}"checksum": "{_checksum(record, where)}"}}'


def unseal(sealed: str, where: Where) -> Any:
    """What was sealed. An event that an earlier version wrote has no checksum. Raises ValueError where it does not fit."""
    found = _SEAL.search(sealed)
    if found is None:
        sealed.encode()  # a damaged byte that is no text stands for itself, and nothing else would notice
        return json.loads(sealed)
    record = sealed[: found.start()] + "}"
    if found[1] != _checksum(record, where):
        raise ValueError("its checksum does not fit")
    return json.loads(record)


def _checksum(record: str, where: Where) -> str:
    return hashlib.sha256(json.dumps([*where, record]).encode()).hexdigest()[:16]
