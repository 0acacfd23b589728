"""Why a figure of an audit is null, by the figure's name. Reads a finished record and computes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

LABELS_ALONE = "the model came as labels without probabilities"
FEW_GROUPS = "fewer than two groups are judged and have the figure"
NO_GROUP = "no group is judged"
ONE_CLASS = "a group is one class here, so a list by class says nothing"
NO_MODEL = "this model was not given"
TWO_MODELS = "it compares a student with a teacher, and one of them was not given"
FEW_TESTED = "too few of the tested images are in the group"
NOT_CHANGED = "no image changed from right to wrong or back"
FEW_REGRESSED = "fewer than 10 images regressed in all"
NO_RANGE = "the groups do not differ so much that a test was due"
NOT_GIVEN = "not given"
NOT_SET = "not set"
ONE_SEED = "there is one seed of this model"
NO_PIE = "no image, or every image, changes its usual label"
SEEDS_AGREE = (
    "fewer than 3 seeds of a model, or the part's accuracy is the same for every seed of both"
)

# ECE's keys have the number of bins in them: `_name` writes ece15_l1 as ece_l1.
REASONS: Mapping[str, str] = {
    "recall": f"no image of the class in the group; or {ONE_CLASS}",
    "precision": f"the model puts no image of the group in the class; or {ONE_CLASS}",
    "fpr_ovr": f"every image of the group is of the class; or {ONE_CLASS}",
    "selection_rate": ONE_CLASS,
    "n_class": ONE_CLASS,
    "confusion": "more than 200,000 cells in this attribute",
    "ece_l1": LABELS_ALONE,
    "ece_l1_by_class": f"no image of the class; or {LABELS_ALONE}",
    "mean_confidence": LABELS_ALONE,
    "nll": LABELS_ALONE,
    "brier": LABELS_ALONE,
    "mean_margin": LABELS_ALONE,
    "reliability": LABELS_ALONE,
    "p_teacher": LABELS_ALONE,
    "p_student": LABELS_ALONE,
    "kl_teacher_student": f"{LABELS_ALONE} (either of the two)",
    "difference": FEW_GROUPS,
    "ratio": f"{FEW_GROUPS}; or the largest value is 0",
    "min_group": FEW_GROUPS,
    "max_group": FEW_GROUPS,
    "worst_group_accuracy": NO_GROUP,
    "worst_label_group": NO_GROUP,
    "worst_label_group_accuracy": NO_GROUP,
    "demographic_parity_difference_max": FEW_GROUPS,
    "demographic_parity_ratio_min": f"{FEW_GROUPS}; or no class is predicted",
    "equal_opportunity_difference_max": FEW_GROUPS,
    "equalized_odds_difference_max": FEW_GROUPS,
    "equalized_odds_full_confusion_max": f"{FEW_GROUPS}; or there is no confusion matrix",
    "deo_max": FEW_GROUPS,
    "deo_mean": FEW_GROUPS,
    "accuracy_gap": FEW_GROUPS,
    "accuracy_gap_ratio": f"{FEW_GROUPS}; or the teacher has no gap",
    "directional_teacher_vs_labels": ONE_CLASS,
    "directional_student_vs_labels": ONE_CLASS,
    "directional_student_vs_teacher": ONE_CLASS,
    "value": f"{NO_GROUP}, or what the gate asks about is undefined",
    "recall_homogeneity": NO_RANGE,
    "p_joint": "fewer than two groups have enough images of the class",
    "chi2": f"{FEW_GROUPS}; or all images are right, or all wrong",
    "chi2_p": f"{FEW_GROUPS}; or all images are right, or all wrong",
    "dof": f"{FEW_GROUPS}; or all images are right, or all wrong",
    "max_min": FEW_GROUPS,
    "max_min_permutation_p": FEW_GROUPS,
    "max_min_expected_if_equal": FEW_GROUPS,
    "variance_between_groups": FEW_GROUPS,
    "variance_between_groups_noise_removed": FEW_GROUPS,
    "method": FEW_GROUPS,
    "max_min_delta": FEW_GROUPS,
    "min_delta": FEW_GROUPS,
    "permutation_p": FEW_GROUPS,
    "expected_if_equal": FEW_GROUPS,
    "mcnemar_cc_chi2": NOT_CHANGED,
    "mcnemar_cc_p": NOT_CHANGED,
    "kappa": "both models put all images of the group in one class",
    "regression_share": FEW_REGRESSED,
    "regression_over_index": FEW_REGRESSED,
    "student": f"{NO_MODEL}; of corrupted images, {FEW_TESTED}",
    "teacher": f"{NO_MODEL}; of corrupted images, {FEW_TESTED}",
    "student_vs_teacher": TWO_MODELS,
    "amplification": TWO_MODELS,
    "clusters": NOT_GIVEN,
    "title": NOT_GIVEN,
    "split": NOT_GIVEN,
    "join": "the groups came with the images: no table was joined",
    "hashes": NOT_GIVEN,
    "png": "pictures were not asked for",
    "floor": NOT_SET,
    "accept_teacher_bias": NOT_SET,
    "across_seeds": "predictions of several trainings were not given",
    "generalisation": "corrupted images and attributions were not tested",
    "attr": "the gate is about the whole audit",
    "group": "the gate is about all groups of the attribute",
    "class": "the gate is about all classes",
    "ci": "the gate does not go by an interval",
    "threshold": NOT_SET,
    "needed_n": "decided, or no number of images would decide it",
    "welch_t": SEEDS_AGREE,
    "welch_df": SEEDS_AGREE,
    "welch_p": SEEDS_AGREE,
    "welch_p_bh": SEEDS_AGREE,
    "teacher_seed_to_seed": ONE_SEED,
    "student_seed_to_seed": ONE_SEED,
    "teacher_std": ONE_SEED,
    "student_std": ONE_SEED,
    "teacher_modal_accuracy_on_pie": NO_PIE,
    "student_modal_accuracy_on_pie": NO_PIE,
    "teacher_modal_accuracy_off_pie": NO_PIE,
    "student_modal_accuracy_off_pie": NO_PIE,
    "over_index_by_group": NO_PIE,
    "mean": "no map of the images differs from place to place",
    "ci95": "fewer than two images, or no map differs from place to place",
    "chance": "fewer than two images, or no map differs from place to place",
    "attribution_by": FEW_TESTED,
    "change": FEW_TESTED,
    "strength": "these are the images as they are",
}
NAMED_BY_USERS = ("over_index_by_group", "attribution_by")  # the keys below are groups, no figures


def reasons(record: Mapping[str, Any]) -> dict[str, str]:
    """Figure -> why it is null, for the figures that are null anywhere in a record."""
    return {name: REASONS.get(name, "undefined") for name in sorted(set(_null_names(record, "")))}


def _null_names(node: Any, name: str) -> Iterator[str]:
    if node is None:
        yield name
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _null_names(value, _name(str(key), under=name))
    elif isinstance(node, list):
        for value in node:
            yield from _null_names(value, name)


def _name(key: str, *, under: str) -> str:
    if under in NAMED_BY_USERS or under == "hashes":
        return under
    if under == "attribution" and key == "by":
        return "attribution_by"
    return re.sub(r"^ece\d+_", "ece_", key)
