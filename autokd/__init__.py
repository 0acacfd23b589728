"""Search distilled students under a hardware budget; keep the Pareto front in MLflow."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Audit",
    "AuditPolicy",
    "SearchResult",
    "__version__",
    "audit",
    "export",
    "front",
    "load_audit",
    "load_config",
    "load_insight",
    "measure",
    "monitor",
    "register",
    "search",
    "trials",
]

if TYPE_CHECKING:
    from autokd.api.measure import measure
    from autokd.api.read import front, load_audit, load_insight, trials
    from autokd.api.search import search
    from autokd.api.ship import export, register
    from autokd.config import load_config
    from autokd.engine.finish import SearchResult
    from autokd.fairness.audit import Audit, audit
    from autokd.monitoring.call import monitor
    from autokd.records import AuditPolicy

_HOMES = {
    "autokd.api.measure": ("measure",),
    "autokd.api.read": ("front", "load_audit", "load_insight", "trials"),
    "autokd.api.search": ("search",),
    "autokd.api.ship": ("export", "register"),
    "autokd.config": ("load_config",),
    "autokd.engine.finish": ("SearchResult",),
    "autokd.fairness.audit": ("Audit", "audit"),
    "autokd.monitoring.call": ("monitor",),
    "autokd.records": ("AuditPolicy",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """The public functions, imported when first used: torch alone takes seconds, and few need it."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'autokd' has no attribute '{name}'")
    return getattr(import_module(_HOME_OF[name]), name)
