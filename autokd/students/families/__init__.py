"""Parametric families of timm models. The only folder that reaches past timm's public functions.

Each family has a test that builds its smallest and largest member, so that a timm release which
moves a builder fails loudly.
"""

from autokd.students.families.convolutional import CONVOLUTIONAL
from autokd.students.families.family import Family
from autokd.students.families.mobile import MOBILE
from autokd.students.families.reparameterised import REPARAMETERISED
from autokd.students.families.transformers import TRANSFORMERS

__all__ = ["FAMILIES", "Family"]

FAMILIES: dict[str, Family] = {**CONVOLUTIONAL, **TRANSFORMERS, **MOBILE, **REPARAMETERISED}
