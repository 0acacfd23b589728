"""Student models: timm's own by name, parametric families by their arguments, and what pixels they expect."""

from autokd.students.create import (
    create_student,
    expand_model_names,
    has_pretrained,
    prune_student,
    takes_image_size,
    unfused_attention,
)
from autokd.students.deployed import deployed
from autokd.students.families import FAMILIES, Family
from autokd.students.features import DEPTHS, Seen, look_inside, refuse_opaque
from autokd.students.heirs import Inheritance, can_inherit, inherit
from autokd.students.inputs import InputFormat
from autokd.students.own import code_of, is_own
from autokd.students.published import Published, published
from autokd.students.start import by_contents, fit_start, load_start, starts_from_file

__all__ = [
    "DEPTHS",
    "FAMILIES",
    "Family",
    "Inheritance",
    "InputFormat",
    "Published",
    "Seen",
    "by_contents",
    "can_inherit",
    "code_of",
    "create_student",
    "deployed",
    "expand_model_names",
    "fit_start",
    "has_pretrained",
    "inherit",
    "is_own",
    "load_start",
    "look_inside",
    "prune_student",
    "published",
    "refuse_opaque",
    "starts_from_file",
    "takes_image_size",
    "unfused_attention",
]
