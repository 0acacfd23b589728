"""Numbers with units, as people write them: ``300M``, ``20ms``, ``10MB``, ``15m``; read and written."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping

COUNT = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
MILLISECONDS = {"": 1.0, "us": 1e-3, "ms": 1.0, "s": 1e3}
BYTES = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

EXAMPLES = (
    (COUNT, "300M, 1.5G, 200k or a plain number"),
    (MILLISECONDS, "20ms, 0.5s or a plain number of milliseconds"),
    (BYTES, "10MB, 500kB, 1MiB or a plain number of bytes"),
    (SECONDS, "90s, 15m, 2h or a plain number of seconds"),
)


def parse_quantity(value: object, units: Mapping[str, float]) -> float:
    """The number in the units' base; raises ValueError that says what is allowed."""
    match = re.fullmatch(r"([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)", str(value).strip().lower())
    try:
        if isinstance(value, bool) or not match:
            raise ValueError
        number = float(match[1]) * units[match[2]]
        if not 0 < number < float("inf"):
            raise ValueError
    except (ValueError, KeyError):
        allowed = next(example for known, example in EXAMPLES if known is units)
        raise ValueError(f"expected {allowed}, got {reprlib.repr(value)}") from None
    return number


def share_of(value: float, whole: float) -> float | None:
    """``value / whole``; None where the whole is 0: a teacher that is never right, a model without multiplications."""
    return value / whole if whole else None


def count_of(count: int, noun: str, plural: str | None = None) -> str:
    """A number of things: ``1 trial``, ``1,200 trials``, ``2 classes`` where the plural is given."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def format_count(value: float) -> str:
    """Three digits and a unit: ``1.23G``, ``45.6M``, ``789k``, ``12``."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * scale:
            return f"{_three_digits(value / scale)}{unit}"
    return f"{value:.0f}"


def format_bytes(value: float) -> str:
    """Decimal units, as disks and stores count: ``1.23 MB``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= 0.9995 * scale:
            return f"{_three_digits(value / scale)} {unit}"
    return f"{value:.0f} B"


def format_cost(name: str, value: float) -> str:
    """A cost by its name in records.COSTS: ``45.6M``, ``1.23 ms``, ``4.56 MB``."""
    if name == "latency_ms":
        return f"{_three_digits(value)} ms"
    return format_bytes(value) if name.endswith("_bytes") else format_count(value)


def format_seconds(value: float) -> str:
    """``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    seconds = round(value)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"
