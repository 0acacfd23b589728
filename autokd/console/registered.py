"""What was registered, and how to load, serve and see it."""

from __future__ import annotations

import shlex

from rich.console import Console

from autokd.console.output import VERDICTS
from autokd.exporting.registered import Registered
from autokd.quantities import format_bytes


def print_registered(registered: Registered) -> None:
    out = Console(soft_wrap=True, highlight=False)  # lines are pasted, so none may be broken
    version, parity = registered.version, registered.parity
    alias = f", alias {version.alias}" if version.alias else ""
    again = "" if version.is_new else " (it was one already)"
    out.print(f"[bold]{version.name}[/] version {version.number}{alias}{again}")
    out.print(f"{registered.student}", markup=False)
    out.print(
        f"{registered.precision}, {format_bytes(registered.size_bytes)}; val accuracy through ONNX Runtime "
        f"{parity.accuracy:.4%}, the same answer as in PyTorch for {parity.agreement:.2%} of {parity.images:,} images"
    )
    verdicts = [
        f"{split} [{VERDICTS.get(verdict, 'default')}]{verdict}[/]"
        for split, verdict in registered.audits.items()
    ]
    unknown = "none of this file" if registered.precision == "int8" else "none"
    out.print(f"audit: {', '.join(verdicts) or unknown}")
    out.print(f"load:  {load_line(registered)}", markup=False)
    out.print(f"serve: {serve_line(registered)}", markup=False)
    if registered.tracking_uri.startswith("http"):
        out.print(f"see:   {registered.address}/{version.page}", markup=False)
    else:
        out.print(f"see:   autokd ui, then http://127.0.0.1:5000/{version.page}", markup=False)


def load_line(registered: Registered) -> str:
    """Python; MLflow looks in ./mlflow.db or MLFLOW_TRACKING_URI unless it is told."""
    return (
        f'import mlflow; mlflow.set_tracking_uri("{registered.address}"); '
        f'model = mlflow.pyfunc.load_model("{registered.version.uri}")'
    )


def serve_line(registered: Registered) -> str:
    return (
        f"MLFLOW_TRACKING_URI={shlex.quote(registered.address)} mlflow models serve "
        f"-m {shlex.quote(registered.version.uri)} --env-manager local --port 5001"
    )
