"""What a step of distillation costs: cached and live teacher against labels alone, and against a plain PyTorch loop.

    python benchmarks/distill_step.py --rounds 5

scikit-learn's digits at 32 px, a student of 0.18 M and a teacher of 2.8 M parameters, batches of 64. Each round trains one epoch of
each kind in turn, by the search's own stage loop without its evaluation; the teacher's logits are cached before.
`bare step` is forward, cross-entropy, backward and optimiser on one batch that is at hand: what labels alone take beyond it is
data, augmentation and bookkeeping. `plain loop` is what a script has: DataLoader, random crops in it, the teacher asked on
every batch. With `--torchdistill` (pip install torchdistill) its DistillationBox is trained on the same DataLoader, as its own
examples/torchvision/image_classification.py does it.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from autokd.answers import CachedLogits, LiveLogits, Teacher
from autokd.config import DataConfig
from autokd.data import ImageData, load_data
from autokd.distill import train_stage
from autokd.records import TEACHER, Stage, StudentSpec, Training
from autokd.stopwatch import Stopwatch
from autokd.students import InputFormat
from autokd.teachers import build_student

SIZE, BATCH = 32, 64
STUDENT = StudentSpec(
    model="resnet",
    arguments={"width": 24, "depth": 1, "stages": 3, "stem_stride": 2},
    image_size=SIZE,
)
TEACHER_SPEC = replace(STUDENT, arguments={"width": 64, "depth": 2, "stages": 3, "stem_stride": 2})
TRAINING = Training(
    epochs=1,
    batch_size=BATCH,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=0.05,
    augmentation="light",
)
LABELS = Stage(
    name="student",
    student=STUDENT,
    teachers=(),
    loss_weights={"ce": 1.0},
    temperature=4.0,
    training=TRAINING,
)


class Digits(Dataset):
    """As a script has them."""

    def __init__(self, data: ImageData) -> None:
        images = torch.stack([data.train.images[i] for i in range(len(data.train))]).float() / 255
        self.images = (images - data.mean[0]) / data.std[0]
        self.labels = data.train.labels
        self.crop = v2.RandomCrop(SIZE, padding=SIZE // 8, padding_mode="reflect")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.crop(self.images[i]), self.labels[i]


def stage_seconds(
    data: ImageData,
    teacher: Teacher,
    cache: Path,
    stage: Stage,
    device: torch.device,
    *,
    live: bool = False,
) -> float:
    """One epoch of the stage loop, without its evaluation on val."""
    views = data.views("light", cache=cache)
    classes = len(data.info.class_names)
    teachers: list[CachedLogits] = []
    if live:
        teachers = [LiveLogits(teacher, views, cache, classes=classes, taps=0, pooled=False)]
    elif stage.teachers:
        teachers = [CachedLogits(teacher, views, cache, classes=classes)]
    student = build_student(STUDENT, data)
    watch = Stopwatch()
    epochs = train_stage(
        stage, student, teachers, inputs=InputFormat(image_size=SIZE, mean=data.mean, std=data.std),
        views=views, val=data.val, seed=0, device=device, folder=cache, watch=watch,
    )  # fmt: skip
    (epoch,) = list(epochs)
    return epoch.seconds - watch.seconds["evaluate"]


def plain_seconds(data: ImageData, digits: Digits, teacher: Teacher, device: torch.device) -> float:
    student = build_student(STUDENT, data).to(device).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=0.05)
    start = time.perf_counter()
    for pixels, labels in DataLoader(digits, batch_size=BATCH, shuffle=True, drop_last=True):
        pixels, labels = pixels.to(device), labels.to(device)
        with torch.inference_mode():
            wanted = F.log_softmax(teacher.model(pixels) / 4, dim=1)
        logits = student(pixels)
        kd = F.kl_div(
            F.log_softmax(logits / 4, dim=1), wanted.clone(), log_target=True, reduction="batchmean"
        )
        loss = 0.1 * F.cross_entropy(logits, labels) + 0.9 * 16 * kd
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    return time.perf_counter() - start


def bare_seconds(data: ImageData, device: torch.device) -> float:
    """As many steps as an epoch has."""
    student = build_student(STUDENT, data).to(device, memory_format=torch.channels_last).train()
    optimizer = create_optimizer_v2(student, opt="adamw", lr=1e-3, weight_decay=0.05)
    pixels = torch.randn(BATCH, 1, SIZE, SIZE, device=device)
    labels = torch.arange(BATCH, device=device) % 10
    start = time.perf_counter()
    for _ in range(len(data.train) // BATCH):
        loss = F.cross_entropy(student(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loss.item()
    seconds = time.perf_counter() - start
    return seconds * len(data.train) / (len(data.train) // BATCH * BATCH)  # of the last batch too


def torchdistill_seconds(
    data: ImageData, digits: Digits, teacher: Teacher, device: torch.device
) -> float:
    from torchdistill.core.distillation import get_distillation_box

    logits = {"module_path": ".", "io": "output"}
    box = get_distillation_box(
        copy.deepcopy(teacher.model), build_student(STUDENT, data).to(device), {"train": digits},
        {
            "num_epochs": 1,
            "train_data_loader": {
                "dataset_id": "train", "requires_supp": True,
                "sampler": {"class_or_func": torch.utils.data.RandomSampler},
                "kwargs": {"batch_size": BATCH, "drop_last": True},
            },
            "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
            "student": {"forward_proc": "forward_batch_only"},
            "optimizer": {"key": "AdamW", "kwargs": {"lr": 1e-3, "weight_decay": 0.05}},
            "criterion": {
                "key": "WeightedSumLoss",
                "kwargs": {
                    "sub_terms": {
                        "kd": {
                            "criterion": {
                                "key": "KDLoss",
                                "kwargs": {
                                    "student_module_path": logits["module_path"],
                                    "student_module_io": logits["io"],
                                    "teacher_module_path": logits["module_path"],
                                    "teacher_module_io": logits["io"],
                                    "temperature": 4.0, "alpha": 0.1,
                                },
                            },
                            "weight": 1.0,
                        },
                    },
                },
            },
        },
        device, None, False, 1,
    )  # fmt: skip
    start = time.perf_counter()
    box.pre_epoch_process(epoch=0)
    for pixels, labels, supplement in box.train_data_loader:
        pixels, labels = pixels.to(device), labels.to(device)
        box.pre_forward_process()
        loss = box.forward_process(pixels, labels, supplement)
        box.post_forward_process(loss)
        loss.item()  # its MetricLogger has every step's
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--torchdistill", action="store_true", help="as a peer, if installed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    taught = replace(LABELS, teachers=(TEACHER,), loss_weights={"ce": 0.1, "kd": 0.9})
    with tempfile.TemporaryDirectory(prefix="autokd-step-") as place:
        cache = Path(place)
        data = load_data(DataConfig(source="digits", image_size=SIZE), seed=0, cache=cache)
        inputs = InputFormat(image_size=SIZE, mean=data.mean, std=data.std)
        teacher = Teacher(build_student(TEACHER_SPEC, data), inputs, "teacher", device)
        digits = Digits(data)
        kinds: dict[str, Callable[[], float]] = {
            "labels alone": lambda: stage_seconds(data, teacher, cache, LABELS, device),
            "cached teacher": lambda: stage_seconds(data, teacher, cache, taught, device),
            "live teacher": lambda: stage_seconds(data, teacher, cache, taught, device, live=True),
            "live teacher in bf16": lambda: stage_seconds(
                data, replace(teacher, precision="bf16"), cache, taught, device, live=True
            ),
            "plain loop, live teacher": lambda: plain_seconds(data, digits, teacher, device),
        }
        kinds["bare step"] = lambda: bare_seconds(data, device)
        if options.torchdistill:
            kinds["torchdistill"] = lambda: torchdistill_seconds(data, digits, teacher, device)
        for measure in kinds.values():  # views, logits and kernels are there before it counts
            measure()
        seconds = {name: [] for name in kinds}
        for _ in range(options.rounds):
            for name, measure in kinds.items():
                seconds[name].append(measure())
    print(f"{os.cpu_count()} cores, {platform.machine()}, {options.threads} threads, {device}")
    print(f"| kind | images/s, median of {options.rounds} | range | step against labels alone |")
    print("| --- | --- | --- | --- |")
    base = statistics.median(seconds["labels alone"])
    for name, each in seconds.items():
        middle = statistics.median(each)
        low, high = len(data.train) / max(each), len(data.train) / min(each)
        print(
            f"| {name} | {len(data.train) / middle:.0f} | {low:.0f} to {high:.0f} | {middle / base:.2f} |"
        )


if __name__ == "__main__":
    main()
