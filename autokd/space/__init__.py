"""The search space: what a search may choose, and a Candidate from a value for each choice."""

from autokd.space.distributions import centre, to_distribution
from autokd.space.space import START, ChooseAssistants, Space, Suggest
from autokd.space.starts import Surroundings

__all__ = [
    "START",
    "ChooseAssistants",
    "Space",
    "Suggest",
    "Surroundings",
    "centre",
    "to_distribution",
]
