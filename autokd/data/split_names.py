"""Which split a folder, or a value of an array, means: by its name, in any case."""

from __future__ import annotations

import re

SYNONYMS = {
    "train": "train", "training": "train", "trainset": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "valset": "val",
    "test": "test", "testing": "test", "tests": "test", "testset": "test",
}  # fmt: skip
_FILLING = {"set", "data", "images", "split"}  # as in train_set, test-images


def split_of(name: str) -> str | None:
    """The split that a name stands for: Train, training, train_set and train2017 are train."""
    words = [word for word in _words(name) if word not in _FILLING]
    return SYNONYMS.get(words[0]) if len(words) == 1 else None


def split_within(name: str) -> str | None:
    """The only split that a name speaks of among other things: seg_train. A class may be called so too."""
    found = {SYNONYMS[word] for word in _words(name) if word in SYNONYMS}
    return found.pop() if len(found) == 1 else None


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", name.lower())
