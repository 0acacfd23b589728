"""Mean and spread of a split's pixels, which inputs are normalised by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from autokd.data.images import CHUNK, ImageSource, MemoryImages

_SAMPLE = 2000  # images that mean and std are taken from where reading is slow


def channel_statistics(
    images: ImageSource, seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std per channel on 0..1, from exact counts of the 256 values.

    A channel of one value only has no spread to divide by; its std is given as 1.
    """
    if isinstance(images, MemoryImages):
        chunks = iter(torch.split(images.pixels, CHUNK))
    else:
        chosen = np.random.default_rng([seed, 5]).permutation(len(images))[:_SAMPLE]
        chunks = (images[int(index)].unsqueeze(0) for index in chosen)
    counts: Tensor | int = 0
    for chunk in chunks:
        channels = chunk.transpose(0, 1).flatten(1)  # (C, N*H*W)
        counts = counts + torch.stack([torch.bincount(c, minlength=256) for c in channels])
    assert isinstance(counts, Tensor)  # for mypy: a split has at least one image
    shares = counts.double() / counts.sum(1, keepdim=True)  # (C, 256)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = shares @ values
    std = ((shares * (values - mean[:, None]) ** 2).sum(1)).sqrt()
    std[std == 0] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())
