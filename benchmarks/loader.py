"""Whether reading files keeps up with training: JPEG photographs in a folder, at 224 pixels.

    python benchmarks/loader.py --images 600

Pictures of 500 x 375 pixels are made and saved as JPEG. Three figures, in images a second: the loader alone, a student's steps on
pixels that are at hand, and an epoch of the search's own stage loop; and the share of that epoch that waited for images.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from timm.optim import create_optimizer_v2

from autokd.config import DataConfig
from autokd.data import ImageData, load, load_data, train_batches
from autokd.distill import train_stage
from autokd.records import Stage, StudentSpec, Training
from autokd.stopwatch import Stopwatch
from autokd.students import InputFormat
from autokd.teachers import build_student

BATCH = 32
STUDENTS = {
    "mobilenetv3_small_050": StudentSpec(model="mobilenetv3_small_050", image_size=224),
    "resnet18": StudentSpec(model="resnet18", image_size=224),
}
STAGE = Stage(
    name="student",
    student=STUDENTS["resnet18"],
    teachers=(),
    loss_weights={"ce": 1.0},
    temperature=1.0,
    training=Training(
        epochs=1, batch_size=BATCH, optimizer="adamw", learning_rate=1e-3, weight_decay=0.05,
        augmentation="light",
    ),
)  # fmt: skip


def make_folder(root: Path, count: int) -> None:
    """Smooth pictures with noise: about as large as photographs are as JPEG."""
    rng = np.random.default_rng(0)
    for number in range(count):
        folder = root / f"class{number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 12, smooth.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
            folder / f"{number}.jpg", quality=90
        )


def loader_speed(data: ImageData, cache: Path) -> float:
    views = data.views("light", cache=cache)
    start = time.perf_counter()
    for _ in train_batches(views, view=0, batch_size=BATCH, seed=0, epoch=1, device="cpu"):
        pass
    return len(data.train) / (time.perf_counter() - start)


def step_speed(data: ImageData, spec: StudentSpec, *, steps: int = 5) -> float:
    model = build_student(spec, data).to(memory_format=torch.channels_last).train()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3)
    pixels, labels = torch.randn(BATCH, 3, 224, 224), torch.arange(BATCH) % 4
    for step in range(steps + 1):
        if step == 1:
            start = time.perf_counter()
        F.cross_entropy(model(pixels), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    return steps * BATCH / (time.perf_counter() - start)


def epoch_speed(data: ImageData, spec: StudentSpec, cache: Path) -> tuple[float, float]:
    """Images a second, and the share of the time that waited for them."""
    watch = Stopwatch()
    inputs = InputFormat(image_size=224, mean=data.mean, std=data.std)
    (epoch,) = train_stage(
        replace(STAGE, student=spec), build_student(spec, data), [], inputs=inputs,
        views=data.views("light", cache=cache), val=data.val, seed=0, device=torch.device("cpu"),
        folder=cache, watch=watch,
    )  # fmt: skip
    seconds = epoch.seconds - watch.seconds["evaluate"]
    return len(data.train) / seconds, watch.seconds["load"] / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1, help="of the student")
    parser.add_argument("--processes", type=int, default=2, help="that read and decode")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load.MEMORY_LIMIT = 0  # type: ignore[misc]  # as for a set too large for memory
    print(
        f"{os.cpu_count()} cores, {platform.machine()}; {options.threads} threads for the student, "
        f"{options.processes} processes that load"
    )
    print("| student | loader alone | student alone | both, an epoch | waited for images |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="autokd-loader-") as place:
        root, cache = Path(place) / "images", Path(place) / "cache"
        make_folder(root, options.images)
        config = DataConfig(
            source="folder", root=root, image_size=224, loader_processes=options.processes
        )
        data = load_data(config, seed=0, cache=cache)
        for name, spec in STUDENTS.items():
            alone, student = loader_speed(data, cache), step_speed(data, spec)
            both, waited = epoch_speed(data, spec, cache)
            print(
                f"| {name} | {alone:.0f} | {student:.0f} | {both:.0f} | {waited:.0%} |", flush=True
            )


if __name__ == "__main__":
    main()
