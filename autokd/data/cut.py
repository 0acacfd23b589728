"""Cutting a set into train, val and test: by class, never through a cluster, the same for a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autokd.data.stored_set import SPLITS
from autokd.errors import ConfigError, DataError
from autokd.quantities import count_of
from autokd.records import UNLABELLED

Rows = NDArray[np.int64]

_SHOWN = 5  # classes in a line
_DRAWS = 64  # of clusters; the one nearest to the asked share of each class is taken
_SALTS = {"test": 1, "val": 2, "limit train": 3, "limit val": 4, "per class": 5}


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """What a cut has to respect."""

    labels: Rows  # (N,); what is UNLABELLED is left out
    class_names: tuple[str, ...]
    own_split: NDArray[np.str_] | None  # (N,): the set's own; what it has is kept
    clusters: Rows | None  # (N,): numbers of what must not be in two splits
    seed: int


def cut_rows(
    cut: Cut, *, val_fraction: float, test_fraction: float, limit: int | None
) -> dict[str, Rows]:
    """Ascending row numbers of train, val and test; disjoint.

    A split that the set does not bring is cut from train, each class by its share, at least one
    image of each. Fractions are of what train had before any cut. `limit` then thins train and val
    out, so test and, but for its size, val do not depend on it. Raises DataError when a class is
    too small.
    """
    own = cut.own_split if cut.own_split is not None else np.full(len(cut.labels), "train")
    known = cut.labels != UNLABELLED
    splits = {name: np.flatnonzero((own == name) & known) for name in SPLITS}
    _check_clusters(cut, splits)
    missing = {name for name in ("test", "val") if not len(splits[name])}
    if missing == {"test", "val"} and val_fraction + test_fraction >= 1:
        raise ConfigError(
            f"data.val_fraction + data.test_fraction must be below 1, got {val_fraction + test_fraction:g}"
        )
    _check_classes(cut, splits["train"], missing)
    left = 1.0
    for name, fraction in (("test", test_fraction), ("val", val_fraction)):
        if name in missing:
            missing.remove(name)
            splits["train"], splits[name] = _cut_off(
                cut, splits["train"], fraction / left, name, leave=1 + len(missing)
            )
            left -= fraction
    return _thin_out(cut, splits, limit)


def draw_evenly(cut: Cut, rows: Rows, per_class: int) -> tuple[Rows, Rows]:
    """`per_class` of these rows of each class, or all where it has fewer, and the others; both ascending.

    Those drawn for a smaller number are among those drawn for a larger one.
    """
    counts = np.minimum(per_class, _class_sizes(cut, rows))
    drawn = _choose(cut, rows, counts, "per class")
    return drawn, np.setdiff1d(rows, drawn)


def describe_drawn(cut: Cut, drawn: Rows, per_class: int) -> Iterator[str]:
    """A line where a class has fewer images."""
    sizes = _class_sizes(cut, drawn)
    if few := [f"{cut.class_names[k]} ({sizes[k]})" for k in np.flatnonzero(sizes < per_class)]:
        shown = ", ".join(few[:_SHOWN]) + (", …" if len(few) > _SHOWN else "")
        yield (
            f"data.per_class {per_class}: {len(few)} of {len(sizes)} classes have fewer images in train "
            f"and keep all of their labels: {shown}"
        )


def class_counts(sizes: Rows, total: int, most: Rows) -> Rows:
    """How many of each class make up `total`: proportional to `sizes`, at least 1, at most `most`.

    Classes of size 0 get 0. The sum is `total` wherever those bounds allow it.
    """
    ideal = total * sizes / sizes.sum()
    least = np.minimum(1, most)
    counts: Rows = np.clip(np.floor(ideal).astype(np.int64), least, most)
    while (difference := total - int(counts.sum())) != 0:
        step = 1 if difference > 0 else -1
        movable = np.flatnonzero(counts < most if step > 0 else counts > least)
        if not len(movable):
            break
        counts[movable[np.argmax(step * (ideal - counts)[movable])]] += step
    return counts


def _cut_off(cut: Cut, rows: Rows, fraction: float, name: str, *, leave: int) -> tuple[Rows, Rows]:
    """Rows that stay, `leave` of each class or more, and rows that are cut off."""
    if cut.clusters is not None:
        taken = _choose_clusters(cut, rows, fraction, name)
    else:
        sizes = _class_sizes(cut, rows)
        counts = class_counts(sizes, round(fraction * len(rows)), sizes - leave)
        taken = _choose(cut, rows, counts, name)
    return np.setdiff1d(rows, taken), taken


def _choose(cut: Cut, rows: Rows, counts: Rows, name: str) -> Rows:
    """`counts` rows of each class, drawn by the seed."""
    generator = np.random.default_rng([cut.seed, _SALTS[name]])
    labels = cut.labels[rows]
    chosen = [
        generator.permutation(rows[labels == label])[:count] for label, count in enumerate(counts)
    ]
    return np.sort(np.concatenate(chosen))


def _choose_clusters(cut: Cut, rows: Rows, fraction: float, name: str) -> Rows:
    """Whole clusters, about `fraction` of each class.

    sklearn's GroupShuffleSplit draws clusters without looking at classes, so the best of 64 draws
    is taken; its StratifiedGroupKFold knows no fractions but 1/k.
    """
    from sklearn.model_selection import GroupShuffleSplit

    assert cut.clusters is not None  # for mypy: the caller has looked
    groups, labels = cut.clusters[rows], cut.labels[rows]
    count = len(np.unique(groups))
    if count < 2:
        raise DataError(
            f"metadata cluster: {name} can't be cut: all images are of one cluster; "
            "leave data.metadata.cluster out, or give images of more"
        )
    seed = int(np.random.SeedSequence([cut.seed, _SALTS[name]]).generate_state(1)[0])
    size = min(max(1, round(fraction * count)), count - 1)
    draws = GroupShuffleSplit(n_splits=_DRAWS, test_size=size, random_state=seed)
    present = _class_sizes(cut, rows)
    best, least = rows[:0], np.inf
    for _, places in draws.split(labels, groups=groups):
        shares = np.bincount(labels[places], minlength=len(present)) / present
        absent = np.sum((shares == 0) | (shares == 1))
        distance = float(np.abs(shares - fraction).sum()) + 10 * float(absent)
        if distance < least:
            best, least = rows[places], distance
    for part, kept in ((name, best), ("train", np.setdiff1d(rows, best))):
        if (empty := np.flatnonzero(_class_sizes(cut, kept) == 0)).size:
            raise DataError(
                f"metadata cluster: {part} would have no image of class "
                f"'{cut.class_names[empty[0]]}', which is in too few of the {count} clusters"
            )
    return np.sort(best)


def _thin_out(cut: Cut, splits: Mapping[str, Rows], limit: int | None) -> dict[str, Rows]:
    train, val = splits["train"], splits["val"]
    total = len(train) + len(val)
    if limit is None or limit >= total:
        return dict(splits)
    sizes = {"train": _class_sizes(cut, train), "val": _class_sizes(cut, val)}
    least = {name: int(np.count_nonzero(size)) for name, size in sizes.items()}
    if limit < sum(least.values()):
        raise DataError(
            f"data.limit {limit} is too low: {len(cut.class_names)} classes need at least "
            f"{sum(least.values())} images in train and val"
        )
    val_count = max(least["val"], round(limit * len(val) / total))
    val_count = min(val_count, limit - least["train"])
    wanted = {"train": limit - val_count, "val": val_count}
    thinned = {
        name: _choose(
            cut,
            splits[name],
            class_counts(sizes[name], wanted[name], sizes[name]),
            f"limit {name}",
        )
        for name in wanted
    }
    return dict(splits) | thinned


def _class_sizes(cut: Cut, rows: Rows) -> Rows:
    return np.bincount(cut.labels[rows], minlength=len(cut.class_names))


def _check_classes(cut: Cut, train: Rows, missing: set[str]) -> None:
    if len(cut.class_names) < 2:
        raise DataError(
            f"the set has {len(cut.class_names)} class; a classifier needs at least two"
        )
    needed = 1 + len(missing)
    sizes = _class_sizes(cut, train)
    smallest = int(sizes.argmin())
    if sizes[smallest] < needed:
        names = ", ".join(["train", *sorted(missing, reverse=True)])
        absent = ", or to be left out of a list data.classes of all others"
        raise DataError(
            f"class '{cut.class_names[smallest]}' has {count_of(int(sizes[smallest]), 'image')} to make {names} of; "
            f"it needs at least {needed}{'' if smallest in cut.labels else absent}"
        )


def _check_clusters(cut: Cut, splits: Mapping[str, Rows]) -> None:
    """The set's own splits must not share clusters, or there is no cutting it as asked."""
    if cut.clusters is None:
        return
    for first, second in (("train", "test"), ("train", "val"), ("val", "test")):
        shared = np.intersect1d(cut.clusters[splits[first]], cut.clusters[splits[second]])
        if len(shared):
            raise DataError(
                f"metadata cluster: {len(shared)} clusters are in both the set's own {first} and "
                f"{second} split; leave data.metadata.cluster out, or merge the splits"
            )
