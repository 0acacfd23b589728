"""Small folders of images, as people have them, and what is read of them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from autokd.config import DataConfig
from autokd.data import load_data


def make_image_folder(root, *, classes=("cat", "dog"), count=6, side=10, mode="RGB", suffix="png"):
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(count):
            shape = (side, side, 3) if mode == "RGB" else (side, side)
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{name}{i}.{suffix}")
    return root


def load_folder(root, cache, **config):
    return load_data(DataConfig(source="folder", root=root, **config), seed=0, cache=cache)
