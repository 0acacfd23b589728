"""Images that occur more than once, exactly: in two splits, in one, or under two classes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from autokd.data.folder import FolderReader
from autokd.data.hugging_face import HuggingFaceReader
from autokd.data.images import ArrayReader, ImageReader, ImageSource, LazyImages, MemoryImages
from autokd.data.stored_set import StoredSet
from autokd.errors import DataError
from autokd.quantities import count_of
from autokd.records import UNLABELLED

REST = "rest of train"  # images of train that data.per_class takes the labels of
APART = "unlabelled"  # those of data.unlabelled
_SHOWN = 2  # pairs in a line

Rows = NDArray[np.int64]
Member = tuple[str, int]  # a split, and a place in it
Pair = tuple[Member, Member]


@dataclass(frozen=True)
class Part:
    """A split, or the images without labels."""

    images: ImageSource
    labels: Sequence[int]
    ids: Sequence[str]


def describe_copies(
    name: str, parts: Mapping[str, Part], further: Mapping[str, Part] | None = None
) -> Iterator[str]:
    """A line for each split whose images are also in an earlier part, for copies within one, and for those of two classes.

    Compared as they are loaded; by their files' bytes where they are too many for memory. `further` sets choose
    nothing, so that it does no harm what they have in common with test and with each other.
    """
    further = further or {}
    parts = {**parts, **further}
    apart = {"test", *further}
    pairs = {
        (first, second): found
        for (first, second), found in _pairs(parts).items()
        if second not in further or first not in apart or first == second
    }

    def shown(found: Sequence[Pair]) -> str:
        texts = [" = ".join(parts[part].ids[at] for part, at in pair) for pair in found[:_SHOWN]]
        return f"({', '.join(texts)}{', …' if len(found) > _SHOWN else ''})"

    for (first, second), found in pairs.items():
        count = f"{name}: {len(found):,} of {count_of(len(parts[second].ids), 'image')} of {second}"
        cure = "data.copies: drop takes them out of train and val"
        if first == second:
            yield f"{count} repeat another one of {second} {shown(found)}"
        else:
            cure = "take them out of data.unlabelled" if first == APART else cure
            cure = f"take them out of data.also_test.{second}" if second in further else cure
            yield f"{count} are also in {first} {shown(found)}, so that its accuracy there is too good; {cure}"
    every = [pair for found in pairs.values() for pair in found]
    labels = [{parts[part].labels[at] for part, at in pair} - {UNLABELLED} for pair in every]
    if two := [pair for pair, both in zip(every, labels, strict=True) if len(both) > 1]:
        yield f"{name}: {count_of(len(two), 'image')} under two classes {shown(two)}, of which one is wrong"
    known = {part: _keys(each.images) for part, each in parts.items()}
    if unread := [part for part, keys in known.items() if keys is None]:
        yield f"{name}: not looked for copies in {', '.join(unread)}, which is too large for memory"


def drop_copies(
    rows: Mapping[str, Rows], stored: StoredSet
) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Rows without val's and train's copies of images in a later split or in themselves, and a note; test stays as it is.

    What lies under two classes goes from both: nothing says which is right.
    """
    numbers = _numbers(stored.reader)
    used = np.concatenate(list(rows.values()))
    of_label = np.unique(np.stack([numbers[used], stored.labels[used]]), axis=1)[0]
    images, classes = np.unique(of_label, return_counts=True)
    taken = np.union1d(images[classes > 1], numbers[rows["test"]])
    kept = {"test": rows["test"]}
    for split in ("val", "train"):
        mine = rows[split][~np.isin(numbers[rows[split]], taken)]
        _, first = np.unique(numbers[mine], return_index=True)
        kept[split] = mine[np.sort(first)]
        taken = np.union1d(taken, numbers[mine])
    gone = np.setdiff1d(np.arange(len(stored.class_names)), stored.labels[kept["train"]])
    if len(gone):
        raise DataError(
            f"{stored.name}: data.copies: drop leaves no image of class "
            f"'{stored.class_names[gone[0]]}' in train"
        )
    lost = {split: len(rows[split]) - len(kept[split]) for split in rows}
    counts = [f"{count:,} of {split}" for split, count in lost.items() if count]
    notes = (f"{stored.name}: copies dropped: {', '.join(counts)}",) if counts else ()
    return {split: kept[split] for split in rows}, notes


def _pairs(parts: Mapping[str, Part]) -> dict[tuple[str, str], list[Pair]]:
    """Each image with the first equal one in its own part and in those before it."""
    groups: dict[Hashable, list[Member]] = defaultdict(list)
    for part, each in parts.items():
        for place, key in enumerate(_keys(each.images) or ()):
            groups[key].append((part, place))
    pairs: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for members in groups.values():
        firsts: dict[str, Member] = {}
        for member in members:
            for earlier in firsts.values():
                if member[0] not in (REST, APART):  # there a copy does no harm
                    pairs[earlier[0], member[0]].append((earlier, member))
            firsts.setdefault(member[0], member)
    return pairs


def _keys(images: ImageSource) -> Iterator[Hashable] | None:
    """Equal for equal images, different for different ones; None: that would take too long."""
    if isinstance(images, MemoryImages):
        return map(_digest, images.pixels)
    if isinstance(images, LazyImages) and isinstance(images.reader, ArrayReader):
        return (_digest(images.reader.read(row)) for row in images.rows.tolist())
    if isinstance(images, LazyImages) and isinstance(images.reader, FolderReader):
        root, files = images.reader.root.resolve(), images.reader.files
        numbers = _numbers(images.reader)[images.rows].tolist()
        return (f"{root}/{files[number]}" for number in numbers)
    return None


def _numbers(reader: ImageReader) -> Rows:
    """The same number, a row's, for images that are equal (N,)."""
    if isinstance(reader, FolderReader):
        numbers = np.arange(len(reader))
        for group in reader.same:
            numbers[group] = group[0]
        return numbers
    if isinstance(reader, ArrayReader):
        digests = [_digest(reader.read(row)) for row in range(len(reader))]
    elif isinstance(reader, HuggingFaceReader):
        digests = [_digest_file(reader, row) for row in range(len(reader))]
    else:
        raise TypeError(f"no way to compare images of a {type(reader).__name__}")
    _, first, numbers = np.unique(digests, return_index=True, return_inverse=True)
    return first[numbers.reshape(-1)]


def _digest(pixels: Tensor) -> bytes:
    return hashlib.blake2b(pixels.contiguous().numpy().data, digest_size=16).digest()


def _digest_file(reader: HuggingFaceReader, row: int) -> bytes:
    with reader.open(row) as file:
        return hashlib.blake2b(file.read(), digest_size=16).digest()
