"""Numbers with units: read as people write them, refused with what is allowed, written with three digits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autokd.quantities import (
    BYTES,
    COUNT,
    MILLISECONDS,
    SECONDS,
    format_bytes,
    format_cost,
    format_count,
    format_seconds,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "units", "value"),
    [
        ("300M", COUNT, 300e6),
        ("1.5G", COUNT, 1.5e9),
        ("2B", COUNT, 2e9),
        ("200k", COUNT, 200e3),
        (5, COUNT, 5),
        ("3e6", COUNT, 3e6),
        ("20ms", MILLISECONDS, 20),
        ("0.5s", MILLISECONDS, 500),
        ("250us", MILLISECONDS, 0.25),
        (7.5, MILLISECONDS, 7.5),
        ("10MB", BYTES, 10e6),
        ("500 kB", BYTES, 500e3),
        ("1MiB", BYTES, 2**20),
        (" 90s ", SECONDS, 90),
        ("15m", SECONDS, 900),
        ("2h", SECONDS, 7200),
    ],
)
def test_a_quantity_is_read_in_its_base_unit(text, units, value):
    assert parse_quantity(text, units) == pytest.approx(value)


@pytest.mark.parametrize(
    ("value", "units", "example"),
    [
        ("300 apples", COUNT, "300M, 1.5G"),
        ("20MB", MILLISECONDS, "20ms, 0.5s"),
        ("20ms", BYTES, "10MB, 500kB"),
        ("soon", SECONDS, "90s, 15m"),
        ("1.2.3", COUNT, "plain number"),
        ("-3", COUNT, "plain number"),
        (0, COUNT, "plain number"),
        ("1e999", COUNT, "plain number"),
        ("", SECONDS, "plain number"),
        (True, COUNT, "plain number"),
        (None, BYTES, "plain number"),
        ([1], COUNT, "plain number"),
    ],
)
def test_what_is_no_quantity_is_refused_with_what_is_allowed_and_what_was_given(
    value, units, example
):
    with pytest.raises(ValueError, match="expected ") as refused:
        parse_quantity(value, units)
    assert example in str(refused.value)
    assert str(refused.value).endswith(f"got {value!r}")


@given(st.floats(1, 1e15))
@settings(deadline=None)
def test_a_formatted_count_or_size_reads_back_to_three_digits(value):
    assert parse_quantity(format_count(value), COUNT) == pytest.approx(value, rel=0.006, abs=0.5)
    assert parse_quantity(format_bytes(value), BYTES) == pytest.approx(value, rel=0.006, abs=0.5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12, "12"),
        (999, "999"),
        (999.6, "1.00k"),
        (789_000, "789k"),
        (999_499, "999k"),
        (999_600, "1.00M"),
        (45.6e6, "45.6M"),
        (1.234e9, "1.23G"),
        (1e12, "1000G"),
    ],
)
def test_a_count_is_written_with_three_digits_and_the_unit_it_rounds_into(value, text):
    assert format_count(value) == text


def test_each_cost_is_written_in_its_own_unit():
    assert format_cost("macs", 45.6e6) == "45.6M"
    assert format_cost("params", 12) == "12"
    assert format_cost("latency_ms", 1.234) == "1.23 ms"
    assert format_cost("size_bytes", 4_560_000) == "4.56 MB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_seconds_are_written_as_people_say_them(seconds, text):
    assert format_seconds(seconds) == text
