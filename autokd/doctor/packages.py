"""Python and the packages that a search needs: there, new enough, and working together."""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from autokd.doctor.finding import Finding, check, ok, problem

NEEDED = ("torch", "torchvision", "timm", "optuna", "mlflow", "fvcore", "onnxruntime")
OPTIONAL = {  # package -> what it is for, and how it is had
    "ray": ("searches on several machines", "autokd[ray]"),
    "executorch": ("exports to ExecuTorch", "autokd[executorch]"),
    "psycopg": ("a ledger in PostgreSQL", "autokd[postgres]"),
    "datasets": ("image sets of the Hugging Face hub", "datasets"),
}
REINSTALL = "install it again: pip install --force-reinstall"


def examine_packages() -> list[Finding]:
    return [
        check("python", lambda: ok(platform.python_version()), ""),
        check("autokd", _autokd, "pip install autokd"),
        *(check(n, lambda n=n: _needed(n), f"{REINSTALL} {n}") for n in NEEDED),  # type: ignore[misc]
        check("torch and torchvision", _one_build, f"{REINSTALL} torch torchvision"),
        *(check(n, lambda n=n: _optional(n), f"{REINSTALL} {n}") for n in OPTIONAL),  # type: ignore[misc]
    ]


def _autokd() -> Finding:
    return ok(version("autokd"))


def _needed(name: str) -> Finding:
    try:
        found = version(name)
    except PackageNotFoundError:
        return problem("is not installed", f"pip install '{_bound(name) or name}'")
    bound = _bound(name)
    if bound and not bound.specifier.contains(found, prereleases=True):
        return problem(f"{found}, and {bound} is needed", f"pip install '{bound}'")
    package = import_module(name)  # one that is broken is found out here
    cuda = getattr(getattr(package, "version", None), "cuda", None) if name == "torch" else None
    return ok(f"{found} with CUDA {cuda}" if cuda else found)


def _bound(name: str) -> Requirement | None:
    """What autokd's own metadata ask for."""
    needed = map(Requirement, requires("autokd") or [])
    return next((each for each in needed if each.name == name and each.marker is None), None)


def _one_build() -> Finding:
    """torchvision's operators are compiled against one torch, and are absent beside any other."""
    torch = import_module("torch")
    import_module("torchvision")
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    torch.ops.torchvision.nms(boxes, torch.ones(1), 0.5)
    made_for = next(
        (each for each in map(Requirement, requires("torchvision") or []) if each.name == "torch"),
        None,
    )
    found = version("torch")
    if made_for and not made_for.specifier.contains(found, prereleases=True):
        return problem(f"torch is {found}, torchvision was built for {made_for}", REINSTALL)
    return ok("of one build")


def _optional(name: str) -> Finding:
    purpose, source = OPTIONAL[name]
    try:
        found = version(name)
    except PackageNotFoundError:
        return ok(f"not installed; for {purpose}: pip install '{source}'")
    import_module(name)
    return ok(found)
