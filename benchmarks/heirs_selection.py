"""What of a larger relative should an heir take? Fashion-MNIST at 14 pixels, 3,000 images to train on, several seeds.

    python benchmarks/heirs_selection.py --root /usr/share/datasets/fashion-mnist --family resnet --seeds 10

A teacher of width 32 is trained for 12 epochs; students of width 8 and 16 start from nothing, from its evenly spaced
channels, from those with their batch-norm statistics taken again (+statistics) or their weights multiplied by how many fewer inputs they
add up (+scaled), from its most important channels or from channels by chance (torch-pruning). Each is then trained for so
many epochs: half the cross-entropy, half the KD at T = 4, AdamW 1e-2, one cycle. Val accuracy in percent at the end, mean and
standard deviation over seeds; then how much more that is than evenly spaced channels', for how many seeds, and Wilcoxon's p.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import multiprocessing
import platform
import statistics
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_pruning
from scipy.stats import wilcoxon
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.losses import LOSSES
from autokd.records import StudentSpec
from autokd.students import create_student, inherit

SIZES = {
    "resnet": {"depth": 1, "stages": 3, "stem_stride": 2},
    "convnext": {"depth": 1, "patch_size": 1},
}
TEACHER, STUDENTS, EPOCHS = 32, (8, 16), (1, 2, 4)
SHAPE = (1, 14, 14)
Pixels = tuple[Tensor, Tensor]


def load(root: Path, *, count: int) -> tuple[Pixels, Pixels]:
    """Train and val, each of the first images of the set's train part, at half their size."""
    raw = np.frombuffer(
        gzip.decompress((root / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
    )
    labels = np.frombuffer(
        gzip.decompress((root / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
    )
    images = torch.from_numpy(raw.reshape(-1, 1, 28, 28)[: 2 * count].copy()).float() / 255
    images, classes = F.avg_pool2d(images, 2), torch.from_numpy(labels[: 2 * count].copy()).long()
    images = (images - images[:count].mean()) / images[:count].std()
    return (images[:count], classes[:count]), (images[count:], classes[count:])


def student(family: str, width: int) -> nn.Module:
    spec = StudentSpec(
        model=family, arguments={"width": width} | SIZES[family], image_size=SHAPE[1]
    )
    return create_student(spec, classes=10, channels=SHAPE[0])


def accuracy(model: nn.Module, data: Pixels) -> float:
    with torch.no_grad():
        return 100 * (model.eval()(data[0]).argmax(1) == data[1]).float().mean().item()


def train(
    model: nn.Module,
    data: Pixels,
    val: Pixels,
    epochs: int,
    *,
    seed: int,
    rate: float,
    teacher: nn.Module | None,
) -> float:
    """Val accuracy at the end."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    steps = epochs * -(-len(data[1]) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    with torch.no_grad():
        logits = teacher.eval()(data[0]) if teacher else None
    for _ in range(epochs):
        model.train()
        for batch in torch.randperm(len(data[1]), generator=generator).split(128):
            answers = model(data[0][batch])
            loss = F.cross_entropy(answers, data[1][batch])
            if logits is not None:
                loss = 0.5 * loss + 0.5 * LOSSES["kd"](
                    answers, logits[batch], data[1][batch], temperature=4.0
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return accuracy(model, val)


def evenly(family: str, width: int, teacher: nn.Module, *_: Pixels) -> nn.Module:
    heir = student(family, width)
    inherit(heir, teacher)
    return heir


def with_statistics(family: str, width: int, teacher: nn.Module, data: Pixels) -> nn.Module:
    """Of batch norm, as the mean over eight batches."""
    heir = evenly(family, width, teacher).train()
    norms = [m for m in heir.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for batch in data[0][: 8 * 128].split(128):
            heir(batch)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    return heir


def scaled(family: str, width: int, teacher: nn.Module, *_: Pixels) -> nn.Module:
    """As large a sum over fewer inputs."""
    heir = evenly(family, width, teacher)
    large = dict(teacher.named_modules())
    with torch.no_grad():
        for name, module in heir.named_modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight *= large[name].weight.shape[1] / module.weight.shape[1]
    return heir


def cut(family: str, width: int, teacher: nn.Module, importance: object) -> nn.Module:
    """By torch-pruning: what is left has the family's own shapes."""
    whole: Any = copy.deepcopy(teacher).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of parameters in no layer, such as scales
        torch_pruning.pruner.BasePruner(
            whole,
            torch.zeros(1, *SHAPE),
            importance=importance,
            pruning_ratio=1 - width / TEACHER,
            ignored_layers=[whole.get_classifier()],
        ).step()
    heir = student(family, width)
    heir.load_state_dict(whole.state_dict())
    return heir


Start = Callable[..., nn.Module]  # (family, width, teacher, data) -> student
STARTS: dict[str, Start] = {
    "random": lambda family, width, *_: student(family, width),
    "evenly spaced": evenly,
    "+statistics": with_statistics,
    "+scaled": scaled,
    "important": lambda family, width, teacher, *_: cut(
        family, width, teacher, torch_pruning.importance.GroupMagnitudeImportance(p=2)
    ),
    "by chance": lambda family, width, teacher, *_: cut(
        family, width, teacher, torch_pruning.importance.RandomImportance()
    ),
}
SKIPPED = {
    "resnet": ("+scaled",),
    "convnext": ("+statistics",),
}  # do nothing there, as there are batch norms or none


def measure(
    seed: int, *, family: str, root: Path, rate: float
) -> dict[tuple[int, str, int], float]:
    """(width, start, epochs) -> val accuracy; 0 epochs: before any training."""
    torch.set_num_threads(1)
    data, val = load(root, count=3000)
    torch.manual_seed(seed)
    teacher = student(family, TEACHER)
    print(
        f"seed {seed}: teacher {train(teacher, data, val, 12, seed=seed, rate=rate, teacher=None):.1f}",
        flush=True,
    )
    found = {}
    for width in STUDENTS:
        for name in [name for name in STARTS if name not in SKIPPED[family]]:
            torch.manual_seed(seed)
            heir = STARTS[name](family, width, teacher, data)
            found[width, name, 0] = accuracy(heir, val)
            for epochs in EPOCHS:
                trained = copy.deepcopy(heir)
                found[width, name, epochs] = train(
                    trained, data, val, epochs, seed=seed, rate=rate, teacher=teacher
                )
    print({" ".join(map(str, key)): round(value, 1) for key, value in found.items()}, flush=True)
    return found


def report(found: list[dict[tuple[int, str, int], float]]) -> None:
    for width, name in dict.fromkeys((width, name) for width, name, _ in found[0]):
        row = f"| {width} | {name} |"
        for epochs in (0, *EPOCHS):
            values = [each[width, name, epochs] for each in found]
            gains = [
                each[width, name, epochs] - each[width, "evenly spaced", epochs] for each in found
            ]
            row += f" {statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
            if any(gains):
                p = wilcoxon(gains).pvalue
                row += f" ({statistics.mean(gains):+.1f}, better {sum(g > 0 for g in gains)}, p {p:.2g})"
            row += " |"
        print(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="where Fashion-MNIST's files are")
    parser.add_argument("--family", choices=SIZES, default="resnet")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, a thread each")
    of_seed = partial(measure, family=options.family, root=options.root, rate=options.rate)
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        report(list(pool.map(of_seed, range(options.seeds))))


if __name__ == "__main__":
    main()
