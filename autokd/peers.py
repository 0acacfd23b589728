"""One training by several processes, as torchrun starts them: each has a GPU and its part of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as group

from autokd.errors import ConfigError


@dataclass(frozen=True)
class Peers:
    """The processes that train together, and which of them this is."""

    rank: int = 0
    count: int = 1

    def part(self, index: Tensor) -> Tensor:
        """Of a batch's places (B,) this process's, as many as every other's; what can't be shared evenly is left out."""
        each = len(index) // self.count
        return index[self.rank * each : (self.rank + 1) * each]

    def refuse_uneven(self, batch_size: int) -> None:
        """Means over parts are those over batches where parts are of one size."""
        if batch_size % self.count or batch_size < 2 * self.count:
            raise ConfigError(
                f"batch_size {batch_size} can't be shared by {self.count} processes; give a multiple of "
                f"{self.count}, {2 * self.count} at least"
            )

    def spread(self, step: nn.Module, *, parts_unused: bool) -> nn.Module:
        """A step whose gradients are the mean over all processes; alone, the step itself.

        `parts_unused`: whether some parameters may have no part in a step.
        """
        if self.count == 1:
            return step
        return nn.parallel.DistributedDataParallel(step, find_unused_parameters=parts_unused)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of scalars that every process has of its own."""
        if self.count == 1:
            return dict(values)
        stacked = torch.stack([*values.values()])
        group.all_reduce(stacked)
        return dict(zip(values, stacked / self.count, strict=True))

    def agree(self, model: nn.Module) -> None:
        """Buffers, such as batch norm's statistics, become the first process's: then all measure the same."""
        if self.count > 1:
            for buffer in model.buffers():
                group.broadcast(buffer, 0)


ALONE = Peers()


@contextmanager
def all_peers() -> Iterator[Peers]:
    """Those that torchrun started with this process; ALONE where nobody did. On GPUs each takes one of its machine."""
    if not group.is_torchelastic_launched():
        yield ALONE
        return
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    group.init_process_group("nccl" if on_gpus else "gloo")
    try:
        yield Peers(group.get_rank(), group.get_world_size())
    finally:
        group.destroy_process_group()
