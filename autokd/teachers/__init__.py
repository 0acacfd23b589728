"""Teachers: loaded from weights, trained once and found again, or fine-tuned from published weights."""

from autokd.answers import CachedLogits, Teacher
from autokd.teachers.build import build_student, create, inputs_of, measure_student
from autokd.teachers.describe import describe_teacher, measure_teacher, shown_to
from autokd.teachers.load import kept_in, load_teacher, load_those_at_hand, needs_training
from autokd.teachers.train import describe_epoch, train_once, views_of

__all__ = [
    "CachedLogits",
    "Teacher",
    "build_student",
    "create",
    "describe_epoch",
    "describe_teacher",
    "inputs_of",
    "kept_in",
    "load_teacher",
    "load_those_at_hand",
    "measure_student",
    "measure_teacher",
    "needs_training",
    "shown_to",
    "train_once",
    "views_of",
]
