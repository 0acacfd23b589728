"""From stored pixels to what a model expects: size, normalisation, memory layout."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

BILINEAR = "bilinear"
INTERPOLATIONS = (BILINEAR, "bicubic")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFormat:
    """What one model wants to see. Teacher and student may want different things of the same pixels."""

    image_size: int
    mean: tuple[float, ...]  # per channel, of pixels in 0..1
    std: tuple[float, ...]
    interpolation: str = BILINEAR  # one of INTERPOLATIONS: how other sizes are brought to this one

    def identity(self) -> dict[str, Any]:
        """Return what it is told apart by; the usual interpolation is left out, as before there was another."""
        record = asdict(self)
        if self.interpolation == BILINEAR:
            del record["interpolation"]
        return record

    def prepare(self, pixels: Tensor) -> Tensor:
        """uint8 (B, C, H, W) in 0..255 -> float32 (B, C, image_size, image_size), normalised, channels last."""
        x = pixels.to(torch.float32, memory_format=torch.channels_last)
        if x.shape[-1] != self.image_size or x.shape[-2] != self.image_size:
            size = (self.image_size, self.image_size)
            x = F.interpolate(
                x, size=size, mode=self.interpolation, antialias=True, align_corners=False
            )
        scale = torch.tensor([255.0 * s for s in self.std], device=x.device).view(1, -1, 1, 1)
        shift = torch.tensor(
            [m / s for m, s in zip(self.mean, self.std, strict=True)], device=x.device
        )
        return (x / scale - shift.view(1, -1, 1, 1)).contiguous(memory_format=torch.channels_last)
