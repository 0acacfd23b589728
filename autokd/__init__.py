"""Search distilled students under a hardware budget; keep the Pareto front in MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["SearchResult", "__version__", "front", "load_config", "measure", "search"]

if TYPE_CHECKING:
    from autokd.api import SearchResult, front, load_config, measure, search


def __getattr__(name: str) -> Any:
    """The public functions, imported when first used: torch alone takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module 'autokd' has no attribute '{name}'")
    from autokd import api

    return getattr(api, name)
