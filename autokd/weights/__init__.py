"""Weights on disk: autokd's own, and those of others, which are read without running any code."""

from autokd.weights.fit import (
    HEAD_STD,
    Loaded,
    classifiers_of,
    fit_weights,
    load_checkpoint,
    start_small,
)
from autokd.weights.names import named_as
from autokd.weights.read import ReadWeights, first_bytes, read_weights
from autokd.weights.saved import hash_file, hash_weights, load_weights, save_weights

__all__ = [
    "HEAD_STD",
    "Loaded",
    "ReadWeights",
    "classifiers_of",
    "first_bytes",
    "fit_weights",
    "hash_file",
    "hash_weights",
    "load_checkpoint",
    "load_weights",
    "named_as",
    "read_weights",
    "save_weights",
    "start_small",
]
