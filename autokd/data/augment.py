"""Random changes to training images, as pure functions of who asks for which view."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as transforms

from autokd.errors import ConfigError, nearest_name

_PADDING = 8  # the crop moves by at most 1/8 of the image's side


def none(image: Tensor, flip: bool) -> Tensor:  # noqa: ARG001 - one signature
    """The image itself."""
    return image


def light(image: Tensor, flip: bool) -> Tensor:
    """Moved by up to 1/8 (the border is reflected) and mirrored half the time.

    What v2.RandomCrop with reflected padding and v2.RandomHorizontalFlip do, by choosing rows and
    columns: several times as fast on 28 x 28, and every stronger augmentation starts with it.
    """
    top, left, mirrored = torch.rand(3).tolist()
    reflected = _reflected(image.shape[-1])  # (side + 2 padding,)
    moves = len(reflected) - image.shape[-1] + 1
    rows = reflected[int(top * moves) :][: image.shape[-1]]
    columns = reflected[int(left * moves) :][: image.shape[-1]]
    if flip and mirrored < 0.5:
        columns = columns.flip(0)
    return image.index_select(-2, rows).index_select(-1, columns)


def medium(image: Tensor, flip: bool) -> Tensor:
    """Light, then turned by up to 10 degrees, scaled by up to 10 %, other brightness and contrast."""
    turn, scale, brightness, contrast = torch.rand(4).mul(2).sub(1).tolist()  # each -1..1
    turned = transforms.affine_image(
        light(image, flip),
        angle=10 * turn,
        translate=[0, 0],
        scale=1 + 0.1 * scale,
        shear=[0.0, 0.0],
        interpolation=v2.InterpolationMode.BILINEAR,
    )
    brighter = transforms.adjust_brightness_image(turned, 1 + 0.2 * brightness)
    changed: Tensor = transforms.adjust_contrast_image(brighter, 1 + 0.2 * contrast)
    return changed


def strong(image: Tensor, flip: bool) -> Tensor:
    """Light, then RandAugment (2 operations, magnitude 9 of 30) and, for 1 in 4, a rectangle erased.

    Cubuk et al. (2020), arXiv 1909.13719; Zhong et al. (2020), arXiv 1708.04896.
    """
    changed: Tensor = _strong()(light(image, flip))
    return changed


# An augmentation takes uint8 (1 or 3, H, W) and whether mirroring keeps the label; its chance is
# torch's global generator, which `augment` seeds and puts back.
AUGMENTATIONS: dict[str, Callable[[Tensor, bool], Tensor]] = {
    "none": none,
    "light": light,
    "medium": medium,
    "strong": strong,
}


def augment(image: Tensor, name: str, *, flip: bool, seed: int, sample: int, view: int) -> Tensor:
    """View `view` of sample `sample`: uint8 (C, H, W) in, the same shape out.

    Depends on its arguments alone; torch's random state is left as it was. Not for several threads
    of one process at once, since they share that state. Raises ConfigError for an unknown name.
    """
    change = find_augmentation(name)
    with _seeded(f"{name}/{seed}/{sample}/{view}"):
        return change(image, flip).contiguous()


def find_augmentation(name: str) -> Callable[[Tensor, bool], Tensor]:
    """An entry of AUGMENTATIONS. Raises ConfigError that lists them."""
    if name not in AUGMENTATIONS:
        known = ", ".join(AUGMENTATIONS)
        raise ConfigError(
            f"unknown augmentation '{name}'; known augmentations: {known}."
            f"{nearest_name(name, AUGMENTATIONS)}"
        )
    return AUGMENTATIONS[name]


@contextmanager
def _seeded(text: str) -> Iterator[None]:
    """torch's CPU generator seeded from a text, and afterwards as it was. GPUs' are not touched."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(int.from_bytes(digest, "little", signed=True))
    try:
        yield
    finally:
        torch.set_rng_state(state)


@cache
def _reflected(side: int) -> Tensor:
    """0..side-1 with 1/8 of the side before and after it, mirrored at the border."""
    padding = max(1, side // _PADDING)
    places = torch.arange(-padding, side + padding).abs()
    return torch.minimum(places, 2 * (side - 1) - places)


@cache
def _strong() -> v2.Transform:
    return v2.Compose(
        [v2.RandAugment(num_ops=2, magnitude=9), v2.RandomErasing(p=0.25, scale=(0.02, 0.2))]
    )
