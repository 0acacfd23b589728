"""A whole tiny search for each source, in a process of its own: a fault that ends the process is seen too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from test_data_folder import make_image_folder
from test_data_sources import write_idx_root, write_npz, write_qmnist

from autokd.data.sources import SOURCES

LEFT_OUT = {
    "fashion_mnist": "is read as mnist is",
    "cifar10": "torchvision reads its very files alone, by checksum",
    "cifar100": "likewise",
}

RESNET = {"depth": 1, "stages": 3, "stem_stride": 2}
SEARCH = {
    "teacher": {"model": "resnet", "arguments": RESNET | {"width": 8}, "train": {"epochs": 1}},
    "students": {"model": "resnet", "families": {"resnet": RESNET | {"width": 4}}},
    "budget": {"runtime": "pytorch"},
    "train": {"epochs": 1},
    "audit": {"robustness_images": 0},
    "search": {"trials": 1},
}


def digits(root: Path) -> dict[str, Any]:
    return {"limit": 100}


def mnist(root: Path) -> dict[str, Any]:
    write_idx_root(root / "files")
    return {"root": "files"}


def qmnist(root: Path) -> dict[str, Any]:
    write_qmnist(root / "files")
    return {"root": "files", "metadata": {"groups": ["hsf"], "cluster": "writer"}}


def folder(root: Path) -> dict[str, Any]:
    make_image_folder(root / "files", classes=("10", "2", "_b", " c"), side=16)
    return {"root": "files", "image_size": 32}


def npz(root: Path) -> dict[str, Any]:
    images = np.random.default_rng(0).integers(0, 256, (60, 20, 30, 3), dtype=np.uint8)
    labels = np.array([b"a/b", b"<c>", b"%s"] * 20)
    write_npz(root / "set.npz", images=images, labels=labels)
    return {"root": "set.npz", "image_size": 24, "classes": ["a/b", "%s", "<c>"]}


def hf(root: Path) -> dict[str, Any]:
    datasets = pytest.importorskip("datasets", reason="needs the optional package datasets")
    rng = np.random.default_rng(0)
    content = {
        "picture": [rng.integers(0, 256, (16, 16), np.uint8) for _ in range(60)],
        "what": [None, None, *["cat", "dog"] * 29],
    }
    types = {"picture": datasets.Image(), "what": datasets.Value("string")}
    part = datasets.Dataset.from_dict(content, features=datasets.Features(types))
    datasets.DatasetDict(train=part).save_to_disk(str(root / "set"))
    return {"name": "set", "root": "cache"}


MAKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "digits": digits,
    "mnist": mnist,
    "qmnist": qmnist,
    "folder": folder,
    "npz": npz,
    "hf": hf,
}


def test_a_new_source_gets_a_search_here():
    assert set(MAKERS) | set(LEFT_OUT) == set(SOURCES)


@pytest.mark.slow
@pytest.mark.parametrize("source", MAKERS)
def test_a_search_on_it_ends_with_a_front(source, store_directory):
    data = {"source": source} | MAKERS[source](store_directory)
    text = yaml.safe_dump(SEARCH | {"data": data})
    (store_directory / "search.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "autokd.cli", "search", "search.yaml"]
    done = subprocess.run(command, cwd=store_directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "1 within budget" in done.stdout
