"""Training images mixed with each other, pixels and labels alike."""

from __future__ import annotations

from collections.abc import Callable

from torchvision.transforms import v2

from autokd.data.batches import Batch

Mixing = Callable[[Batch], Batch]


def make_mixing(mixup: float, cutmix: float, *, classes: int) -> Mixing:
    """A batch in, one of float pixels (0..255) and of shares of classes (B, C) out; by both where both are wanted, in turn by chance.

    `mixup` (Zhang et al. 2018, arXiv 1710.09412) and `cutmix` (Yun et al. 2019, arXiv 1905.04899) are the alphas of
    their Beta distributions; 0: not this one. Pairs are neighbours in the batch; chance is torch's global generator.
    """
    kinds = [
        kind(alpha=alpha, num_classes=classes)
        for kind, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix))
        if alpha
    ]
    if not kinds:
        return lambda batch: batch
    change = v2.RandomChoice(kinds)

    def mix(batch: Batch) -> Batch:
        pixels, shares = change(batch.pixels.float(), batch.labels)
        return batch._replace(pixels=pixels, labels=shares)

    return mix
