"""Images that occur more than once, exactly: in two splits, in one, or under two classes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from autokd.data.folder import FolderReader
from autokd.data.images import ArrayReader, ImageReader, ImageSource, LazyImages, MemoryImages
from autokd.data.split import Split
from autokd.errors import ConfigError
from autokd.quantities import count_of

_SHOWN = 2  # pairs in a line

Rows = NDArray[np.int64]
Member = tuple[str, int]  # a split, and a place in it
Pair = tuple[Member, Member]


def describe_copies(
    name: str, splits: Mapping[str, Split], ids: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """A line for each split whose images are also in an earlier one, for copies within a split, and for those of two classes.

    Compared as they are loaded; by their files' bytes where they are too many for memory.
    """
    pairs: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for members in _copies(splits):
        firsts: dict[str, Member] = {}
        for member in members:
            for earlier in firsts.values():
                pairs[earlier[0], member[0]].append((earlier, member))
            firsts.setdefault(member[0], member)

    def shown(found: Sequence[Pair]) -> str:
        texts = [" = ".join(ids[split][place] for split, place in pair) for pair in found[:_SHOWN]]
        return f"({', '.join(texts)}{', …' if len(found) > _SHOWN else ''})"

    for (first, second), found in pairs.items():
        count = f"{name}: {len(found):,} of {count_of(len(splits[second]), 'image')} of {second}"
        if first == second:
            yield f"{count} repeat another one of {second} {shown(found)}"
        else:
            yield (
                f"{count} are also in {first} {shown(found)}, so that its accuracy there is too "
                "good; data.copies: drop takes them out of train and val"
            )
    labels = {split: part.labels.tolist() for split, part in splits.items()}
    every = [pair for found in pairs.values() for pair in found]
    if two := [pair for pair in every if len({labels[split][place] for split, place in pair}) > 1]:
        yield f"{name}: {count_of(len(two), 'image')} under two classes {shown(two)}, of which one is wrong"


def drop_copies(rows: Mapping[str, Rows], labels: Rows, reader: ImageReader) -> dict[str, Rows]:
    """Without val's and train's copies of images in a later split or in themselves; test stays as it is.

    What lies under two classes goes from both: nothing says which is right.
    """
    numbers = _numbers(reader)
    used = np.concatenate(list(rows.values()))
    of_label = np.unique(np.stack([numbers[used], labels[used]]), axis=1)[0]
    images, classes = np.unique(of_label, return_counts=True)
    taken = np.union1d(images[classes > 1], numbers[rows["test"]])
    kept = {"test": rows["test"]}
    for split in ("val", "train"):
        mine = rows[split][~np.isin(numbers[rows[split]], taken)]
        _, first = np.unique(numbers[mine], return_index=True)
        kept[split] = mine[np.sort(first)]
        taken = np.union1d(taken, numbers[mine])
    return {split: kept[split] for split in rows}


def _numbers(reader: ImageReader) -> Rows:
    """The same number for images that are equal (N,)."""
    if isinstance(reader, FolderReader):
        numbers = np.arange(len(reader))
        for group in reader.same:
            numbers[group] = group[0]
        return numbers
    if isinstance(reader, ArrayReader):
        digests = [_digest(reader.read(row)) for row in range(len(reader))]
        return np.unique(digests, return_inverse=True)[1].reshape(-1).astype(np.int64)
    raise ConfigError(
        "data.copies: drop compares files of a folder and arrays; leave it out for this source"
    )


def _copies(splits: Mapping[str, Split]) -> list[list[Member]]:
    groups: dict[Hashable, list[Member]] = defaultdict(list)
    for split, part in splits.items():
        for place, key in enumerate(_keys(part.images)):
            groups[key].append((split, place))
    return [members for members in groups.values() if len(members) > 1]


def _keys(images: ImageSource) -> Iterator[Hashable]:
    """Equal for equal images, different for different ones."""
    if isinstance(images, MemoryImages):
        yield from map(_digest, images.pixels)
    elif isinstance(images, LazyImages) and isinstance(images.reader, ArrayReader):
        yield from (_digest(images.reader.read(row)) for row in images.rows.tolist())
    elif isinstance(images, LazyImages) and isinstance(images.reader, FolderReader):
        yield from _numbers(images.reader)[images.rows].tolist()


def _digest(pixels: Tensor) -> bytes:
    return hashlib.blake2b(pixels.contiguous().numpy().data, digest_size=16).digest()
