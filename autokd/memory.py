"""Work in smaller portions where a GPU's memory runs short."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

log = logging.getLogger(__name__)

T = TypeVar("T")


def shrink_to_fit(attempt: Callable[[int], T], most: int, *, least: int) -> tuple[T, int]:
    """What an attempt with so many images at a time comes to, and the number: `most`, or if that takes too much memory half of
    it, and so on. An attempt begins with the same random numbers as the one before.

    Raises what the attempt with fewer than twice `least` raised. Only a GPU's allocator is tried again: after a failed
    allocation on the CPU, libraries below torch were seen to crash ("double free") at the next try.
    """
    while True:
        random = torch.get_rng_state()
        try:
            return attempt(most), most
        except torch.OutOfMemoryError:
            if most // 2 < least:
                raise
        # here, and not above, nothing holds what the attempt had
        torch.cuda.empty_cache()
        torch.set_rng_state(random)
        most //= 2
        log.warning("memory runs short: going on with %d images at a time", most)
