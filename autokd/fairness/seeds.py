"""Several seeds of teacher and student: what training noise explains. Hooker's tests and PIE, after their authors' code."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, ttest_ind

from autokd.fairness.counts import count
from autokd.fairness.groups import Attribute
from autokd.fairness.rates import Ints, ratio

MIN_SEEDS = 3

Seeds = NDArray[np.int64]  # (K, N) predicted labels of K trainings


def across_seeds(
    labels: Ints,
    teacher: Seeds,
    student: Seeds,
    attributes: Sequence[Attribute],
    class_names: Sequence[str],
    *,
    ids: Sequence[Any],
    min_group_n: int,
) -> dict[str, Any]:
    """Tests over seeds are about *training* noise on one test set; paired tests are about *test-set* noise.

    With fewer than MIN_SEEDS of a model there is no test: means, spread and churn alone.
    """
    right = [(seeds == labels).astype(np.float64) for seeds in (teacher, student)]
    record: dict[str, Any] = {
        "accuracy": {"teacher": right[0].mean(axis=1), "student": right[1].mean(axis=1)},
        "churn": _churn(teacher, student),
    }
    few = min(len(teacher), len(student)) < MIN_SEEDS
    if few:
        seeds = {"teacher": len(teacher), "student": len(student)}
        record |= {"state": f"needs >= {MIN_SEEDS} seeds", "seeds": seeds}
    record["per_class"] = _welch(
        right, labels, [f"y={name}" for name in class_names], min_n=1
    )  # of all classes that occur
    for attribute in attributes:
        record[f"per_group_{attribute.name}"] = _welch(
            right, attribute.codes, attribute.groups, min_n=min_group_n
        )
    if few:
        return record
    return record | {"pie": _pie(labels, teacher, student, attributes, len(class_names), ids)}


def modal_labels(seeds: Seeds, classes: int) -> tuple[Ints, Ints]:
    """(N,) the label most seeds give, of a tie the largest as in the authors' code; and (N, C) votes."""
    rows = np.broadcast_to(np.arange(seeds.shape[1]), seeds.shape)
    votes = count((rows.ravel(), seeds.ravel()), (seeds.shape[1], classes))
    return classes - 1 - votes[:, ::-1].argmax(axis=1), votes


def _welch(
    right: Sequence[NDArray[np.float64]], codes: Ints, names: Sequence[str], *, min_n: int
) -> dict[str, Any]:
    """Welch's t between teacher's and student's seeds of accuracy in a part - mean accuracy of all seeds of the model.

    Hooker et al. 2020, "What do compressed deep neural networks forget?", arXiv 1911.05248; the adjustment for
    several tests (Benjamini-Hochberg) is not theirs. > 0: the part pays more for compression than the whole.
    """
    n = count((codes,), (len(names),))
    members = (codes[:, None] == np.arange(len(names))).astype(np.float64)  # (N, parts)
    parts = [ratio(of @ members, n) for of in right]  # (K, parts)
    excess = [part - of.mean() for part, of in zip(parts, right, strict=True)]
    tested = np.flatnonzero(n >= min_n)
    record: dict[str, Any] = {}
    for g in tested.tolist():
        t, s = excess[0][:, g], excess[1][:, g]
        record[names[g]] = {
            "n": n[g],
            "teacher_mean": parts[0][:, g].mean(),
            "student_mean": parts[1][:, g].mean(),
            "teacher_std": _std(parts[0][:, g]),
            "student_std": _std(parts[1][:, g]),
            "normalized_difference": s.mean() - t.mean(),
        }
        varies = min(len(t), len(s)) >= MIN_SEEDS and (t.std() > 1e-12 or s.std() > 1e-12)
        test = ttest_ind(t, s, equal_var=False) if varies else None
        record[names[g]] |= {
            "welch_t": test and test.statistic,
            "welch_df": test and test.df,
            "welch_p": test and test.pvalue,
            "welch_p_bh": None,
        }
    defined = [part for part in record.values() if part["welch_p"] is not None]
    if defined:
        p = false_discovery_control([part["welch_p"] for part in defined])
        for part, value in zip(defined, p, strict=True):
            part["welch_p_bh"] = value
    return record


def _pie(
    labels: Ints,
    teacher: Seeds,
    student: Seeds,
    attributes: Sequence[Attribute],
    classes: int,
    ids: Sequence[Any],
) -> dict[str, Any]:
    """Pruning-identified exemplars: rows whose label by majority changes. Taxicab ranks rows for a person to look at."""
    (t, t_votes), (s, s_votes) = modal_labels(teacher, classes), modal_labels(student, classes)
    moved = t != s
    taxicab = np.abs(t_votes / len(teacher) - s_votes / len(student)).sum(axis=1)
    by_id = sorted(range(len(ids)), key=lambda row: id_key(ids[row]))
    top = sorted(by_id, key=lambda row: -round(taxicab[row], 9))[:5]
    share = {a.name: _share_by_group(moved, a) for a in attributes}
    whole = moved.mean()
    return {
        "count": moved.sum(),
        "share": whole,
        "ids": [ids[row] for row in by_id if moved[row]],
        "teacher_modal_accuracy_on_pie": _mean((t == labels)[moved]),
        "student_modal_accuracy_on_pie": _mean((s == labels)[moved]),
        "teacher_modal_accuracy_off_pie": _mean((t == labels)[~moved]),
        "student_modal_accuracy_off_pie": _mean((s == labels)[~moved]),
        "taxicab_mean": taxicab.mean(),
        "taxicab_top5_ids": [ids[row] for row in top],
        "share_by_group": share,
        "over_index_by_group": {
            name: {group: value / whole if whole else None for group, value in groups.items()}
            for name, groups in share.items()
        },
    }


def _share_by_group(moved: NDArray[np.bool_], attribute: Attribute) -> dict[str, float]:
    shape = (len(attribute.groups),)
    share = ratio(count((attribute.codes[moved],), shape), count((attribute.codes,), shape))
    return dict(zip(attribute.groups, share.tolist(), strict=True))


def _churn(teacher: Seeds, student: Seeds) -> dict[str, float | None]:
    """Shares of rows on which two trainings differ; those of one model among itself are the noise floor."""

    def within(seeds: Seeds) -> float | None:
        pairs = itertools.combinations(seeds, 2)
        return _mean(np.array([(a != b).mean() for a, b in pairs]))

    between = [(t != s).mean() for t, s in itertools.product(teacher, student)]
    return {
        "teacher_seed_to_seed": within(teacher),
        "student_seed_to_seed": within(student),
        "teacher_to_student": _mean(np.array(between)),
    }


def id_key(each: Any) -> tuple[int, float, str]:
    """An order for ids of any type that does not depend on the rows' order: numbers, then texts."""
    is_number = isinstance(each, (int, float, np.number))
    return (0, float(each), "") if is_number else (1, 0.0, str(each))


def _std(values: NDArray[np.float64]) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
