"""What of published weights is best fine-tuned: test accuracy of teachers by how many labelled images there are.

    python benchmarks/fine_tuning.py --data cifar10_small.npz --weights lite0.safetensors --images 100 300 1000 --seeds 2

Each seed draws its labelled images evenly by class, and 500 others to choose the epoch on; test is the file's own. One
line each: images, seed, what is trained, test and val accuracy, seconds on one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from autokd.config import TeacherConfig
from autokd.data import ImageData, MemoryImages, Split
from autokd.evaluation import predict, score
from autokd.records import DataInfo, content_hash
from autokd.teachers import load_teacher

VAL = 500


def draw(file: Path, *, images: int, image_size: int, seed: int) -> ImageData:
    """So many labelled images, drawn evenly; val of others; the file's test."""
    arrays = np.load(file)
    names, labels = np.unique(arrays["labels"], return_inverse=True)
    is_test = arrays["split"] == "test"
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(~is_test))
    ranks = np.empty(len(drawn), dtype=int)  # of each drawn image among its class's
    for number in range(len(names)):
        its = labels[drawn] == number
        ranks[its] = np.arange(its.sum())
    even = drawn[np.argsort(ranks, kind="stable")]
    rows = {
        "val": even[:VAL],
        "train": even[VAL : VAL + images],
        "test": np.flatnonzero(is_test),
    }
    splits = {name: _split(arrays["images"], labels, of) for name, of in rows.items()}
    info = DataInfo(
        name="fine_tuning",
        source=str(file),
        hash=content_hash([str(file), images, image_size, seed]),
        class_names=tuple(map(str, names)),
        channels=3,
        image_size=image_size,
        train_count=len(rows["train"]),
        val_count=VAL,
        test_count=len(rows["test"]),
    )
    return ImageData(
        info=info, **splits, mean=(0.5,) * 3, std=(0.25,) * 3, flip=True, join=None, seed=seed,
        view_count=4,
    )  # fmt: skip


def _split(images: Any, labels: Any, rows: Any) -> Split:
    return Split(
        images=MemoryImages(torch.from_numpy(images[rows]).permute(0, 3, 1, 2).contiguous()),
        labels=torch.from_numpy(labels[rows]),
        rows=torch.from_numpy(rows),
        metadata=None,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--what", nargs="+", default=["head", "1", "2", "all"], help="1: last 1")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], help="settings of train: epochs=5 …")
    parser.add_argument(
        "--without-regression", action="store_true", help="the classifier begins small"
    )
    options = parser.parse_args()
    settings = {
        k: float(v) if "." in v or "e" in v else int(v)
        for k, v in (s.split("=") for s in options.set)
    }
    torch.set_num_threads(1)
    for images in options.images:
        for seed in range(options.seeds):
            data = draw(options.data, images=images, image_size=options.image_size, seed=seed)
            for what in options.what:
                part = {"last": int(what)} if what.isdigit() else what
                config = TeacherConfig(
                    model=options.model,
                    pretrained=options.weights,
                    image_size=options.image_size,
                    train={"what": part, **settings},
                )
                plain = (
                    patch("autokd.teachers.load.fit_head")
                    if options.without_regression
                    else contextlib.nullcontext()
                )
                measure(config, data, seed=seed, plain=plain, label=f"{images} {seed} {what}")


def measure(config: TeacherConfig, data: ImageData, *, seed: int, plain: Any, label: str) -> None:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache, plain:
        teacher, info = load_teacher(
            config, data, cache=Path(cache), seed=seed, device=torch.device("cpu")
        )
    seconds = time.perf_counter() - start
    logits = predict(teacher.model, data.test, inputs=teacher.inputs, device=teacher.device)
    test = score(logits, data.test.labels)
    print(
        f"{label}: test {test.accuracy:.4f}, loss {test.loss:.3f}, val {info.val_accuracy:.4f}, "
        f"{seconds:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
