"""How an image file becomes what an exported student takes: in words, and as a script that needs neither torch nor autokd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SCRIPT = '''\
"""Name the class of image files: python example.py FILE ...  Needs numpy, Pillow and {needs}."""
import sys
from pathlib import Path

import numpy as np
{imports}
from PIL import Image

CLASSES = {classes}
{load}
for file in sys.argv[1:]:
    image = Image.open(file).convert("{mode}")
    scale = {loaded} / min(image.size)
    width, height = (max({loaded}, round(side * scale)) for side in image.size)
    left, top = round((width - {loaded}) / 2), round((height - {loaded}) / 2)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    image = image.crop((left, top, left + {loaded}, top + {loaded}))
    pixels = np.asarray(image, dtype=np.float32).reshape({loaded}, {loaded}, {channels}).transpose(2, 0, 1)
{resize}{normalise}    logits = {ask}
    print(file, CLASSES[int(np.argmax(logits))], sep="\\t")
'''
RESIZE = """\
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in pixels]
    pixels = np.stack([plane.resize(({size}, {size}), Image.Resampling.BILINEAR) for plane in planes])
"""
NORMALISE = """\
    mean, std = (np.array(v, np.float32).reshape(-1, 1, 1) for v in ({mean}, {std}))
    pixels = (pixels / 255 - mean) / std
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """What runs a kind of file, as lines of a script."""

    needs: str  # packages, in words
    imports: str
    load: str  # of the file PATH
    ask: str  # logits of `pixels` (C, S, S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What happens to an image before a student sees it."""

    channels: int
    loaded_size: int  # of the squares that the search loaded its data as
    image_size: int  # of the squares that the student takes
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalised: bool  # by the file itself

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.channels, self.image_size, self.image_size)

    @property
    def steps(self) -> list[str]:
        """In their order, from a file to the tensor."""
        loaded, size = (f"{side} x {side}" for side in (self.loaded_size, self.image_size))
        colour = "RGB" if self.channels == 3 else "grey"
        found = [
            f"read as {colour}, 8 bits a channel (transparency dropped, EXIF rotation not applied)",
            f"the short side resized to {self.loaded_size} pixels (bilinear, antialiased)",
            f"the centre {loaded} cut out",
        ]
        if self.loaded_size != self.image_size:
            found.append(f"that resized to {size} (bilinear, antialiased, not rounded)")
        if self.normalised:
            return [*found, "pixels 0..255 as they are: the file normalises them itself"]
        mean, std = (", ".join(f"{v:.4f}" for v in vs) for vs in (self.mean, self.std))
        return [*found, f"(pixels / 255 - [{mean}]) / [{std}]"]

    def describe(self) -> str:
        """``float32 (N, 3, 48, 48), made of an image so: read as RGB, …; the short side resized to 64 pixels …``."""
        dims = ", ".join(map(str, self.shape))
        return f"float32 (N, {dims}), made of an image so: {'; '.join(self.steps)}"

    def script(self, runner: Runner, *, file: str, classes: Sequence[str]) -> str:
        """A Python file that prints the class of each image file that it is given."""
        resized = self.loaded_size != self.image_size
        return SCRIPT.format(
            needs=runner.needs,
            imports=runner.imports,
            classes=[*classes],
            load=runner.load.replace("PATH", f'Path(__file__).with_name("{file}")'),
            mode="RGB" if self.channels == 3 else "L",
            loaded=self.loaded_size,
            channels=self.channels,
            resize=RESIZE.format(size=self.image_size) if resized else "",
            normalise="" if self.normalised else NORMALISE.format(mean=self.mean, std=self.std),
            ask=runner.ask,
        )
