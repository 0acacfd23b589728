"""What accuracy by group does not show: how a student bears worse images, and whether it looks where its teacher does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from autokd.data import MemoryImages, Split
from autokd.data.corrupt import CORRUPTIONS, SEVERITIES, corrupt, strength_of
from autokd.evaluation import predict
from autokd.fairness.groups import Attribute, read_attributes
from autokd.students import InputFormat

CLEAN = "none"  # the row of the images as they are, severity 0
MIN_ROWS = 30  # of a group, below which its accuracy is None
MIN_MAPS = 10  # and its mean agreement
GRID = 7  # cells a side that are covered one after the other
_CHUNK = 256  # images corrupted at a time
_SHIFTS = 8  # other images that each is compared with to know what chance gives

Groups = Mapping[str, Any]  # column -> N values


@dataclass(frozen=True, eq=False)
class Endurance:
    """Whether a model is right about each of some images, as they are and corrupted."""

    rows: NDArray[np.int64]  # (n,), of the split
    image_size: int
    right: Mapping[tuple[str, int], NDArray[np.bool_]]  # corruption, severity -> (n,)


def endure(
    model: nn.Module,
    split: Split,
    *,
    inputs: InputFormat,
    device: torch.device,
    seed: int = 0,
    max_images: int = 1000,
) -> Endurance:
    """Of at most `max_images`, drawn and corrupted with `seed`: equal seeds show equal pixels to every model."""
    rows = _draw(len(split), max_images, seed)
    names = [(CLEAN, 0), *((name, level) for name in CORRUPTIONS for level in SEVERITIES)]
    right: dict[tuple[str, int], list[NDArray[np.bool_]]] = {name: [] for name in names}
    for number, part in enumerate(_parts(split, rows)):
        for name, level in names:
            pixels = _pixels(part)
            if name != CLEAN:
                pixels = corrupt(pixels, name, severity=level, seed=_seed(seed, number))
            seen = replace(part, images=MemoryImages(pixels))
            right[name, level].append(_right(model, seen, inputs, device))
    return Endurance(
        rows=rows,
        image_size=min(_pixels(part).shape[-2:]),
        right={name: np.concatenate(parts) for name, parts in right.items()},
    )


def corruption_robustness(
    student: Endurance, teacher: Endurance, *, groups: Groups | None = None
) -> list[dict[str, Any]]:
    """Accuracy of both on the same worse images; `groups` are of the whole split.

    A record for the images as they are (name `none`, severity 0), then one for each corruption and
    severity: ``{name, severity, strength, n, teacher, student, change, by}``; `change` is the
    student's accuracy minus the teacher's, `by` is attribute -> group -> the same figures.
    """
    of_split = {name: np.asarray(values)[teacher.rows] for name, values in (groups or {}).items()}
    attributes = read_attributes(of_split, len(teacher.rows), intersections=1)
    size = teacher.image_size
    return [
        {
            "name": name,
            "severity": level,
            "strength": None if name == CLEAN else strength_of(name, level, image_size=size),
            **_accuracies(
                np.stack([teacher.right[name, level], student.right[name, level]]), attributes
            ),
        }
        for name, level in teacher.right
    ]


def attribution_agreement(
    student: nn.Module,
    teacher: nn.Module,
    split: Split,
    *,
    student_inputs: InputFormat,
    teacher_inputs: InputFormat,
    device: torch.device,
    groups: Groups | None = None,
    seed: int = 0,
    images: int = 64,
) -> dict[str, Any]:
    """Whether the same places of an image speak for its label in both: ``{method, images, mean, ci95, by, chance}``.

    Occlusion (Zeiler & Fergus 2014, arXiv 1311.2901): how far the label's logit falls, against the mean
    of all logits, when a cell of a grid over the stored image is covered by the mean of all drawn images there. Signed: what
    speaks against the label counts too. Cells are compared by rank (Spearman), so that the scale of
    logits is of no matter. It asks nothing of an architecture, an image size or a normalisation. What
    is compared by size alone (gradient times input, integrated gradients) marks where an image is not
    empty and lets untrained models agree with trained ones; plain gradients of small nets are mostly
    noise of single pixels. `chance` is the agreement with the teacher's map of another image.
    """
    rows = _draw(len(split), images, seed)
    parts = list(_parts(split, rows))
    cover = _mean_image(parts)
    of_student, of_teacher = (
        np.concatenate([_occlude(model, part, inputs, device, cover) for part in parts])
        for model, inputs in ((student, student_inputs), (teacher, teacher_inputs))
    )
    agreement = _spearman(of_student, of_teacher)  # (images,), NaN where a map is flat
    known = agreement[np.isfinite(agreement)]
    order = np.random.default_rng([seed, 9]).permutation(len(rows))
    shifts = range(1, min(_SHIFTS, len(rows) - 1) + 1)
    others = [_spearman(of_student[order], of_teacher[np.roll(order, s)]) for s in shifts]
    by: dict[str, dict[str, float | None]] = {}
    for attribute in read_attributes(groups or {}, len(split), intersections=1):
        codes = attribute.codes[rows]
        by[attribute.name] = {
            group: _mean(agreement[codes == code], at_least=MIN_MAPS)
            for code, group in enumerate(attribute.groups)
        }
    return {
        "method": f"occlusion of {of_student.shape[1]} cells (Spearman)",
        "images": len(known),
        "flat": len(agreement) - len(known),  # images of which no cell matters to one of the models
        "mean": _mean(agreement),
        "ci95": _interval(known),
        "by": by,
        "chance": _mean(np.concatenate(others)) if others else None,
    }


def _draw(count: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """Rows in order. Fewer images are always among those that more would have been."""
    return np.sort(np.random.default_rng([seed, 8]).permutation(count)[:wanted])


def _parts(split: Split, rows: NDArray[np.int64]) -> Iterator[Split]:
    """These rows as small splits in memory."""
    for start in range(0, len(rows), _CHUNK):
        chosen = rows[start : start + _CHUNK]
        index = torch.from_numpy(chosen)
        yield Split(
            images=MemoryImages(torch.stack([split.images[int(row)] for row in chosen])),
            labels=split.labels[index],
            rows=split.rows[index],
            metadata=None,
        )


def _seed(seed: int, part: int) -> int:
    return int(np.random.SeedSequence([seed, part]).generate_state(1)[0])


def _right(
    model: nn.Module, split: Split, inputs: InputFormat, device: torch.device
) -> NDArray[np.bool_]:
    logits = predict(model, split, inputs=inputs, device=device)
    right: NDArray[np.bool_] = (logits.argmax(dim=-1) == split.labels).numpy()
    return right


def _accuracies(right: NDArray[np.bool_], attributes: Sequence[Attribute]) -> dict[str, Any]:
    """Of (2, n): whether teacher and student are right about each image."""
    by: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for attribute in attributes:
        by[attribute.name] = {
            group: _pair(right[:, attribute.codes == code], at_least=MIN_ROWS)
            for code, group in enumerate(attribute.groups)
        }
    return _pair(right) | {"by": by}


def _pair(right: NDArray[np.bool_], *, at_least: int = 1) -> dict[str, float | int | None]:
    count = right.shape[1]
    teacher, student = (_mean(row.astype(np.float64), at_least=at_least) for row in right)
    change = None if teacher is None or student is None else student - teacher
    return {"n": count, "teacher": teacher, "student": student, "change": change}


def _pixels(part: Split) -> Tensor:
    assert isinstance(part.images, MemoryImages)  # for mypy: what _parts makes
    return part.images.pixels


def _mean_image(parts: Sequence[Split]) -> Tensor:
    """float32 (1, C, H, W) in 0..255."""
    total = torch.stack([_pixels(part).sum(dim=0) for part in parts]).sum(dim=0)
    return (total / sum(len(part) for part in parts)).unsqueeze(0)


@torch.no_grad()
def _occlude(
    model: nn.Module, part: Split, inputs: InputFormat, device: torch.device, cover: Tensor
) -> NDArray[np.float64]:
    """(B, cells): how far the label's logit falls without each cell."""
    # late, since it loads matplotlib; untyped
    from captum.attr import Occlusion  # type: ignore[import-untyped]

    model.eval()

    def logits(stored: Tensor) -> Tensor:
        found: Tensor = model(inputs.prepare(stored)).float()
        return found - found.mean(dim=-1, keepdim=True)  # a shift of all changes no probability

    pixels = _pixels(part).to(device, torch.float32)
    side = math.ceil(max(pixels.shape[-2:]) / GRID)
    window = (pixels.shape[1], min(side, pixels.shape[2]), min(side, pixels.shape[3]))
    maps = Occlusion(logits).attribute(
        pixels,
        sliding_window_shapes=window,
        strides=window,
        baselines=cover.to(device),
        target=part.labels.to(device),
    )
    cells: Tensor = maps[:, 0, :: window[1], :: window[2]]  # a window's pixels share one value
    values: NDArray[np.float64] = cells.flatten(1).double().cpu().numpy()
    return values


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank correlation of each row with the other's: (B,), NaN where one is constant."""
    a, b = (stats.rankdata(values, axis=1) for values in (first, second))
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (a, b))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    correlation: NDArray[np.float64] = np.full(len(a), np.nan)
    np.divide((a * b).sum(axis=1), scale, out=correlation, where=scale > 0)
    return correlation


def _mean(values: NDArray[np.float64], *, at_least: int = 1) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) >= at_least else None


def _interval(values: NDArray[np.float64]) -> list[float] | None:
    """95% of a mean over independent images, by Student's t."""
    if len(values) < 2:
        return None
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(values.mean() - half), float(values.mean() + half)]
