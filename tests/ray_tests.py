"""What tests with Ray have in common."""

from __future__ import annotations

import gc
import warnings

import pytest

ray = pytest.importorskip("ray", reason="needs pip install -e .[ray]")

MARKS = [
    pytest.mark.slow,
    # Ray leaves sockets and log files to its own processes
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def collect() -> None:
    """What Ray left open goes here, and not in the middle of another module's test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
