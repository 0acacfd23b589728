"""What a folder of class folders means: which image is of which class and split. Nothing is decoded here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autokd.data.image_tree import (
    ImageTree,
    broken_links,
    count_images,
    find_images,
    loose_images,
    refuse_broken,
    some,
    visible_folders,
)
from autokd.data.split_names import split_of, split_within
from autokd.data.stored_set import SPLITS
from autokd.errors import DataError, nearest_name
from autokd.quantities import count_of

# Tiny ImageNet's val: all images in images/, their classes in a table
_TABLE, _UNSORTED = "*_annotations.txt", "images"


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassFolders:
    """Images by row: train's first, then val's and test's, each in natural order of their names."""

    files: tuple[str, ...]  # relative to the root
    labels: NDArray[np.int64]  # (N,), an index into class_names
    class_names: tuple[str, ...]
    splits: NDArray[np.str_] | None  # (N,) of SPLITS; None: there are no split folders
    inner: tuple[str | None, ...]  # the folder within its class folder that an image lies in
    notes: tuple[str, ...]  # what was left out, and what a person might not expect


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where an image lies."""

    file: str
    split: str  # "" where there are no split folders
    folder: str  # class
    inner: str | None


def sort_classes(names: Iterable[str]) -> list[str]:
    """The order in which classes are numbered: Python's, as of torchvision's ImageFolder."""
    return sorted(set(names))


def read_class_folders(root: Path, *, trained_on: bool = True) -> ClassFolders:
    """A folder for each class, in the root or in its split folders; what lies deeper is of the class folder it lies in.

    A class without images is refused in what is `trained_on`: of new images there may be none of it. Raises DataError, in one line, for what could be read in two ways or would train on a set's test images.
    """
    tops = _split_folders(root, trained_on=trained_on)
    tree = find_images(root, tuple(tops.values()) or ("",))
    left_out = [*_beside(root, tops), *tree.left_out]
    places: list[_Place] = []
    for split, top in (tops or {"": ""}).items():
        found = _places(root, split, top, tree.images)
        empty = _empty_folders(root, top, found, tree)
        first = split in ("", "train")
        if first:
            _refuse(root, found, empty if trained_on else (), tree.left_out)
        elif unlabelled := _without_labels(found, places):
            left_out.append(f"{unlabelled} without labels ({top}/images)")
            continue
        elif trained_on:
            _refuse_unknown(root / top, found, places)
        if not (first and trained_on):
            left_out += [f"the empty class folder {name}" for name in empty]
        places += found
    if not places:
        reasons = f"; left out: {', '.join(left_out)}" if left_out else ""
        raise DataError(f"{root}: holds no class folder with an image{reasons}")
    names = sort_classes(place.folder for place in places)
    numbers = {name: number for number, name in enumerate(names)}
    return ClassFolders(
        files=tuple(place.file for place in places),
        labels=np.array([numbers[place.folder] for place in places], dtype=np.int64),
        class_names=tuple(names),
        splits=np.array([place.split for place in places]) if tops else None,
        inner=tuple(place.inner for place in places),
        notes=tuple(_notes(root, places, left_out)),
    )


def _split_folders(root: Path, *, trained_on: bool) -> dict[str, str]:
    """The folder of each split, relative to the root; none where the root holds class folders.

    A split folder has a split's name and holds folders: a class may be called `train` too.
    """
    refuse_broken(root, [name for name in broken_links(root) if split_of(name)])
    folders = visible_folders(root)
    holding = [name for name in folders if split_within(name) and visible_folders(root / name)]
    found = _named_splits(holding)
    for split, names in found.items():
        if len({(root / name).resolve() for name in names}) > 1:
            raise DataError(
                f"{root}: {' and '.join(names)} both name the {split} split; "
                "leave one of them there, or merge them"
            )
    flat = [name for name in folders if name not in holding and split_of(name)]
    flat = [name for name in flat if loose_images(root / name)]
    if flat and ("train" in found or all(map(split_of, folders))):
        loose = loose_images(root / flat[0])
        raise DataError(
            f"{root / flat[0]}: {count_of(len(loose), 'image')} in no class folder, as {loose[0]}; "
            "move each into a folder named as its class, or all of them out of "
            f"{root} (data.unlabelled takes images without labels)"
        )
    if found and trained_on and "train" not in found:
        named = some([name for names in found.values() for name in names])
        raise DataError(
            f"{root}: has {named} and no folder to train on; name that one 'train', "
            f"or set data.root to a folder of class folders"
        )
    return {split: _unwrapped(root, names, split) for split, names in found.items()}


def _named_splits(folders: Sequence[str]) -> dict[str, list[str]]:
    """Names of folders by split. seg_train is train where seg_test stands beside it; alone it may be a class."""
    exact = {split: [n for n in folders if split_of(n) == split] for split in SPLITS}
    loose = {split: [n for n in folders if split_within(n) == split] for split in SPLITS}
    both = {split: exact[split] or loose[split] for split in SPLITS if exact[split] or loose[split]}
    if exact["train"] or ("train" in both and len(both) > 1):
        return both
    return {split: names for split, names in exact.items() if names}


def _unwrapped(root: Path, names: Sequence[str], split: str) -> str:
    """The folder itself rather than a link to it; and seg_train/seg_train, as some archives have it."""
    name = min(names, key=lambda name: (root / name).is_symlink())
    inside = visible_folders(root / name)
    if len(inside) == 1 and split_within(inside[0]) == split and not loose_images(root / name):
        return f"{name}/{inside[0]}"
    return name


def _places(root: Path, split: str, top: str, images: Sequence[str]) -> list[_Place]:
    """The images below one split folder, or below the root."""
    before = f"{top}/" if top else ""
    mine = [name for name in images if name.startswith(before)]
    parts = [(name, name.removeprefix(before).split("/")) for name in mine]
    if loose := [name for name, rest in parts if len(rest) == 1]:
        more = f" (and {count_of(len(loose) - 1, 'more such image')})" if len(loose) > 1 else ""
        raise DataError(f"{root / loose[0]}: lies in no class folder{more}; move it into one")
    table = _read_table(root / top)
    if table is None:
        return [
            _Place(file=name, split=split, folder=rest[0], inner=rest[1] if rest[2:] else None)
            for name, rest in parts
        ]
    if missing := [name for name, rest in parts if rest[-1] not in table]:
        raise DataError(f"{root / missing[0]}: has no line in {root / top}/{_TABLE}")
    return [
        _Place(file=name, split=split, folder=table[rest[-1]], inner=None) for name, rest in parts
    ]


def _read_table(top: Path) -> dict[str, str] | None:
    """Class by file name, of Tiny ImageNet's val_annotations.txt; None: there is no such table."""
    table = min(top.glob(_TABLE), default=None)
    if table is None or visible_folders(top) != [_UNSORTED]:
        return None
    try:
        lines = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{table}: can't be read: {error}") from None
    if bad := [number for number, line in enumerate(lines, start=1) if len(line) < 2]:
        raise DataError(f"{table}: line {bad[0]} is not a file's name, a tab and its class")
    return {line[0]: line[1] for line in lines}


def _without_labels(found: Sequence[_Place], train: Sequence[_Place]) -> str | None:
    """How many images of val or test lie in one folder `images`: nothing says what is on them."""
    alone = {place.folder for place in found} == {_UNSORTED}
    if alone and _UNSORTED not in {place.folder for place in train}:
        return count_of(len(found), "image")
    return None


def _empty_folders(root: Path, top: str, found: Sequence[_Place], tree: ImageTree) -> list[str]:
    """Class folders without images, relative to the root."""
    if top in tree.again or _read_table(root / top):
        return []
    used = {place.folder for place in found}
    names = [name for name in visible_folders(root / top) if name not in used]
    full = [f"{top}/{name}" if top else name for name in names]
    return [name for name in full if name not in tree.again]


def _refuse(
    root: Path, found: Sequence[_Place], empty: Sequence[str], left_out: Sequence[str]
) -> None:
    """What is trained on has no class folders without images, and none with splits in them."""
    if empty:
        reasons = f"; left out: {', '.join(left_out)}" if left_out else ""
        raise DataError(
            f"{root / empty[0]}: class folder holds no image{reasons}; put images of it there, or remove it"
        )
    used = {place.folder for place in found}
    mixed = (p for p in found if not p.split and p.inner and split_of(p.inner))
    if inner := next(mixed, None):
        folder, part = root / inner.folder, inner.inner
        several = f"arrange it as {root / str(part) / inner.folder}"
        raise DataError(
            f"{folder / str(part)}: a split in a class folder would be mixed with the others; "
            f"{several if len(used) > 1 else f'set data.root to {folder}'}"
        )


def _refuse_unknown(folder: Path, found: Sequence[_Place], train: Sequence[_Place]) -> None:
    known = {place.folder for place in train if place.split == "train"}
    if unknown := sort_classes({place.folder for place in found} - known):
        raise DataError(
            f"{folder}: class folder '{unknown[0]}' has no like in train."
            f"{nearest_name(unknown[0], known)}"
        )


def _beside(root: Path, tops: Mapping[str, str]) -> list[str]:
    """Images beside the split folders."""
    if not tops:
        return []
    read = {(root / top.split("/")[0]).resolve() for top in tops.values()}
    others = [name for name in visible_folders(root) if (root / name).resolve() not in read]
    counts = {name: count_images(root / name) for name in others}
    found = []
    if loose := loose_images(root):
        found.append(f"{count_of(len(loose), 'image')} beside the split folders ({some(loose)})")
    if names := [name for name, count in counts.items() if count]:
        total = count_of(sum(counts.values()), "image")
        found.append(f"{total} in folders that name no split ({some(names)})")
    return found


def _notes(root: Path, places: Sequence[_Place], left_out: Sequence[str]) -> Iterator[str]:
    if left_out:
        yield f"{root}: left out: {', '.join(left_out)}"
    if len({place.inner for place in places if place.inner}) > 1:
        inner = dict.fromkeys(f"{place.folder}/{place.inner}" for place in places if place.inner)
        yield (
            f"{root}: folders within class folders are of the class they lie in "
            f"({some(list(inner))}); data.metadata: {{cluster: folder}} keeps each in one split"
        )
    classes = sort_classes(place.folder for place in places)
    for name in classes:
        if not places[0].split and split_of(name):
            yield f"{root}: {name} is read as a class, not as a split: it holds images and no class folders"
    alike = Counter(name.strip().casefold() for name in classes)
    if twins := [name for name in classes if alike[name.strip().casefold()] > 1]:
        yield f"{root}: classes that differ in case or spaces alone ({some(twins)}) are two, not one"
    for split in ("val", "test"):
        has = {place.folder for place in places if place.split == split}
        if has and (absent := [name for name in classes if name not in has]):
            yield (
                f"{root}: {split} has no image of {len(absent)} of {len(classes)} classes "
                f"({some(absent)}); its accuracy says nothing about them"
            )
