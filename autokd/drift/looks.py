"""What an image looks like in a few numbers, each 0..1. They tell a new camera or light, and no image can be had back from them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autokd.data import Split, eval_batches

Floats = NDArray[np.float64]

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
_BATCH = 256


def describe_looks(split: Split) -> dict[str, Floats]:
    """Name -> (N,), in the split's order."""
    parts = [
        measure_looks(batch.pixels)
        for batch in eval_batches(split, batch_size=_BATCH, device="cpu")
    ]
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def measure_looks(pixels: Tensor) -> dict[str, Tensor]:
    """Of uint8 (B, 1 or 3, H, W), float64 (B,) each.

    brightness and contrast: mean and standard deviation of luma; sharpness: mean difference between neighbouring
    pixels; of colour images also saturation (HSV's, the mean) and the mean of each channel.
    """
    x = pixels.double() / 255
    colour = x.shape[1] == 3
    luma = torch.einsum("bchw,c->bhw", x, x.new_tensor(_LUMA)) if colour else x[:, 0]
    looks = {
        "brightness": luma.mean(dim=(1, 2)),
        "contrast": luma.flatten(1).std(dim=1, correction=0),
        "sharpness": _sharpness(luma),
    }
    if colour:
        high, low = x.amax(dim=1), x.amin(dim=1)
        looks["saturation"] = ((high - low) / high.clamp(min=1 / 255)).mean(dim=(1, 2))
        for place, name in enumerate(("red", "green", "blue")):
            looks[name] = x[:, place].mean(dim=(1, 2))
    return looks


def _sharpness(luma: Tensor) -> Tensor:
    """0 for an image of one pixel, which has no neighbours."""
    steps = torch.cat([luma.diff(dim=1).flatten(1), luma.diff(dim=2).flatten(1)], dim=1)
    return steps.abs().sum(dim=1) / max(1, steps.shape[1])
