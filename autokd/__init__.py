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
    from autokd.api import (
        SearchResult,
        export,
        front,
        load_audit,
        load_config,
        load_insight,
        measure,
        register,
        search,
        trials,
    )
    from autokd.fairness.audit import Audit, audit
    from autokd.monitoring.call import monitor
    from autokd.records import AuditPolicy

_ELSEWHERE = {
    "Audit": "autokd.fairness.audit",
    "AuditPolicy": "autokd.records",
    "audit": "autokd.fairness.audit",
    "monitor": "autokd.monitoring.call",
}


def __getattr__(name: str) -> Any:
    """The public functions, imported when first used: torch alone takes seconds, and an audit needs none."""
    if name not in __all__:
        raise AttributeError(f"module 'autokd' has no attribute '{name}'")
    return getattr(import_module(_ELSEWHERE.get(name, "autokd.api")), name)
