"""Image files as pixels, by Pillow: the first picture of each, as it is stored."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

# What Pillow's readers raise on files that are damaged, or made to do damage.
UNREADABLE = (
    Image.DecompressionBombError,
    OSError,  # UnidentifiedImageError too
    EOFError,
    SyntaxError,
    ValueError,
    RuntimeError,
    LookupError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)
_DEEP = ("I", "F")  # 16 bits and more, also I;16: Pillow would clip them to 8


def decode(file: BinaryIO, channels: int) -> Tensor:
    """uint8 (channels, H, W). Transparency is dropped, rotation in EXIF is not applied, as in timm."""
    with Image.open(file) as image:
        refuse_deep(image)
        values = np.array(image.convert("L" if channels == 1 else "RGB"))
    pixels = torch.from_numpy(values)
    return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1).contiguous()


def refuse_deep(image: Image.Image) -> None:
    if image.mode.startswith(_DEEP):
        raise ValueError(f"its mode is {image.mode}; convert it to 8 bits a channel")


def explain(error: BaseException) -> str:
    """What is wrong with a file, in one line: ``is not a readable image: …``."""
    if isinstance(error, UnidentifiedImageError):
        reason = "it is empty, damaged or of no format that Pillow knows"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    else:
        reason = " ".join(str(error).split()) or type(error).__name__
    return f"is not a readable image: {reason}"
