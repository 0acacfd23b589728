"""Batches for training and evaluation: an order that follows from seed and epoch, pixels on the device."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from autokd.data.images import LazyImages, MemoryImages
from autokd.data.split import Split
from autokd.data.unlabelled import JoinedImages
from autokd.data.views import Views
from autokd.errors import AutoKDError, ConfigError, DataError, StorageError, first_line
from autokd.orphan import end_with_parent
from autokd.peers import ALONE, Peers
from autokd.quantities import format_bytes

SHARED_MEMORY = Path("/dev/shm")  # where there is one, processes hand batches over in it
AHEAD = 2  # batches that each loading process holds ready: DataLoader's default
MORE = "give a container more (docker run --shm-size=2g), or set data.loader_processes to 0"


class Batch(NamedTuple):
    """Some images of a split, on the device that was asked for."""

    pixels: Tensor  # uint8 (B, C, H, W)
    labels: Tensor  # int64 (B,)
    # int64 (B,): places in the split, for what is cached per sample. Hides tuple.index, unused here.
    index: Tensor  # type: ignore[assignment]


def train_batches(
    views: Views,
    *,
    view: int,
    batch_size: int,
    seed: int,
    epoch: int,
    device: torch.device | str,
    balance: Tensor | None = None,
    processes: int | None = None,
    peers: Peers = ALONE,
) -> Iterator[Batch]:
    """Every image of one view once, in an order that depends on `seed` and `epoch` alone; with `peers` this process's part.

    With `balance`, each image's group (N,), as many images are drawn with replacement, each group as often as another.
    A last batch of one image is left out: batch norm has no variance of it, and relations between
    samples do not exist. `processes` read and augment what does not fit in memory; 0: this one,
    None: as many as the search file says.
    Raises DataError that names an image which can't be read.
    """
    if batch_size < 2:
        raise ConfigError(f"batch_size must be at least 2 to train, got {batch_size}")
    if balance is None:
        order = epoch_order(len(views.split), seed=seed, epoch=epoch)
    else:
        order = balanced_order(balance, seed=seed, epoch=epoch)
    peers.refuse_uneven(batch_size)
    parts = [peers.part(part) for part in torch.split(order, batch_size)]
    parts = [part for part in parts if len(part) > 1]
    return _of_view(views, view, parts, torch.device(device), processes)


def split_batch(batch: Batch, most: int) -> Iterator[Batch]:
    """In order, in even parts of about `most` images, and never of a single one."""
    count = len(batch.pixels)
    parts = max(1, min(-(-count // most), count // 2))
    yield from map(Batch._make, zip(*(torch.tensor_split(v, parts) for v in batch), strict=True))


def count_batches(count: int, batch_size: int, peers: Peers = ALONE) -> int:
    """How many batches `train_batches` makes of so many images."""
    return count // batch_size + (count % batch_size >= 2 * peers.count)


def view_batches(
    views: Views,
    *,
    view: int,
    batch_size: int,
    device: torch.device | str,
    processes: int | None = None,
) -> Iterator[Batch]:
    """Every image of one view once, in the split's order. Raises as `train_batches` does."""
    parts = _in_order(len(views), batch_size)
    return _of_view(views, view, parts, torch.device(device), processes)


def eval_batches(
    split: Split, *, batch_size: int, device: torch.device | str, processes: int | None = None
) -> Iterator[Batch]:
    """Every image of a split once, in its order, as it is. Raises as `train_batches` does."""
    parts = _in_order(len(split), batch_size)
    if isinstance(split.images, MemoryImages):
        return _from_memory(split.images.pixels, split.labels, parts, torch.device(device))
    return _from_files(_SplitSamples(split), split, parts, torch.device(device), processes)


def _in_order(count: int, batch_size: int) -> Sequence[Tensor]:
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
    return torch.split(torch.arange(count), batch_size)


def _of_view(
    views: Views, view: int, parts: Sequence[Tensor], device: torch.device, processes: int | None
) -> Iterator[Batch]:
    pixels = views.pixels(view)
    if pixels is not None:
        return _from_memory(pixels, views.split.labels, parts, device)
    return _from_files(_ViewSamples(views, view), views.split, parts, device, processes)


def epoch_order(count: int, *, seed: int, epoch: int) -> Tensor:
    """A permutation of 0..count-1, int64."""
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(count))


def balanced_order(groups: Tensor, *, seed: int, epoch: int) -> Tensor:
    """N places of 0..N-1, int64, drawn with replacement; a place's probability is in inverse proportion to its group's size."""
    _, numbers, sizes = np.unique(groups.numpy(), return_inverse=True, return_counts=True)
    probabilities = 1 / (len(sizes) * sizes[numbers])
    generator = np.random.default_rng([seed, epoch])
    return torch.from_numpy(generator.choice(len(groups), size=len(groups), p=probabilities))


def _from_memory(
    pixels: Tensor, labels: Tensor, parts: Sequence[Tensor], device: torch.device
) -> Iterator[Batch]:
    for index in parts:
        yield _move(Batch(pixels[index], labels[index], index), device)


def _from_files(
    samples: Callable[[int], Tensor],
    split: Split,
    parts: Sequence[Tensor],
    device: torch.device,
    processes: int | None,
) -> Iterator[Batch]:
    """Worker processes start from a fork server that has torch loaded, in tens of milliseconds.

    So they need not outlive an epoch, and no thread or GPU context is copied into them.
    """
    if processes is None:
        images = split.images
        processes = images.processes if isinstance(images, (LazyImages, JoinedImages)) else 0
    context = None
    if processes:
        method = (
            "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        )
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(["autokd.fork_server", __name__])
    loader: DataLoader[Batch | AutoKDError] = DataLoader(
        _Batches(samples, split.labels, [part.tolist() for part in parts]),
        batch_size=None,
        num_workers=processes,
        multiprocessing_context=context,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else the loader draws from the global one
        worker_init_fn=_end_with_parent if processes else None,
    )
    try:
        for batch in loader:
            if isinstance(batch, AutoKDError):
                raise batch
            yield _move(Batch(*batch), device)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise StorageError(
            f"a process that loads images died: {first_line(error)}; {MORE}"
        ) from None


def _end_with_parent(_number: int) -> None:
    end_with_parent()


def refuse_little_shared_memory(split: Split, batch_size: int) -> None:
    """Raises StorageError where what loading processes send does not fit into the memory that they share."""
    images = split.images
    if not isinstance(images, LazyImages) or not images.processes or not SHARED_MEMORY.is_dir():
        return
    batch = batch_size * images.channels * images.image_size**2
    needed = images.processes * (AHEAD + 1) * batch
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < needed:
        raise StorageError(
            f"{SHARED_MEMORY}: {format_bytes(free)} are free, and {images.processes} processes that load batches of "
            f"{batch_size} images need {format_bytes(needed)}; {MORE}"
        )


def _move(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    # from page-locked memory copying waits for nobody
    return Batch(*(part.pin_memory().to(device, non_blocking=True) for part in batch))


@dataclass(frozen=True)
class _ViewSamples:
    views: Views
    view: int

    def __call__(self, index: int) -> Tensor:
        return self.views.sample(index, self.view)


@dataclass(frozen=True)
class _SplitSamples:
    split: Split

    def __call__(self, index: int) -> Tensor:
        return self.split.images[index]


@dataclass(frozen=True)
class _Batches(Dataset["Batch | AutoKDError"]):
    """A whole batch an item. An error is handed over as a value: raised, it would lose its one line.

    A batch is put into shared memory here. Left to the queue, a failure would be its thread's, and its reader would wait
    for ever.
    """

    samples: Callable[[int], Tensor]
    labels: Tensor
    parts: list[list[int]]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Batch | AutoKDError:
        part = self.parts[number]
        try:
            pixels = torch.stack([self.samples(index) for index in part])
        except DataError as error:
            return error
        index = torch.tensor(part)
        batch = Batch(pixels, self.labels[index], index)
        if get_worker_info() is None:
            return batch
        try:
            return Batch(*(each.share_memory_() for each in batch))  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            return StorageError(f"{SHARED_MEMORY} is full: {first_line(error)}; {MORE}")
