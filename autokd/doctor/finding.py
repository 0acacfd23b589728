"""What one check found. A check that breaks is a finding too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from autokd.errors import AutoKDError, one_line

STATES = ("ok", "warning", "problem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    name: str
    state: str  # one of STATES; a problem is what a search would fail of
    found: str
    advice: str | None = None  # what to do about it


def ok(found: str) -> Finding:
    return Finding(name="", state="ok", found=found)


def warning(found: str, advice: str) -> Finding:
    return Finding(name="", state="warning", found=found, advice=advice)


def problem(found: str, advice: str | None = None) -> Finding:
    return Finding(name="", state="problem", found=found, advice=advice)


def check(name: str, look: Callable[[], Finding], advice: str) -> Finding:
    """What `look` says under this name, or that it broke: a broken package raises whatever it likes when it is imported."""
    try:
        found = look()
    except AutoKDError as error:  # says itself what to do
        found = problem(str(error))
    except Exception as error:  # noqa: BLE001 - a doctor reports what is broken, whatever it is
        found = problem(one_line(error), advice)
    return replace(found, name=name)
