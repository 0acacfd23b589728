"""Who may import whom, which third party has which door, and that light commands stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "autokd"
FILES = sorted(PACKAGE.rglob("*.py"))

# A module (or a folder, whose own files may know each other) imports from the rows above its own alone.
LAYERS = (
    {"masking", "locked", "orphan"},
    {"fork_server"},
    {"records", "errors", "targets", "quantities", "stopwatch", "insight"},
    {
        "parameters",
        "yaml_file",
        "whole_file",
        "class_order",
        "fairness",
        "peers",
        "runtime",
        "variation",
        "weights",
    },
    {"sections"},
    {"config"},
    {
        "shared",
        "students",
        "losses",
        "data",
        "cost",
        "pareto",
        "precision",
        "memory",
        "balance",
        "kept",
    },
    {"feature_losses"},
    {"mitigation", "projectors"},
    {"needs"},
    {"objective", "checkpoint", "evaluation", "choices"},
    {"space", "learning", "drift"},
    {"distill"},
    {"answers"},
    {"appraisal"},
    {"teachers"},
    {"task", "generalisation"},
    {"auditing", "failure", "shipped", "donors"},
    {"trial"},
    {"on_test"},
    {"report", "tracking"},
    {"engine"},
    {"exporting", "doctor", "drafting"},
    {"monitoring"},
    {"api", "console"},
    {"__init__", "cli"},
)
LAYER_OF = {module: number for number, layer in enumerate(LAYERS) for module in layer}

DOORS = {
    "mlflow": {"tracking"},
    "optuna": {"engine", "space"},
    "sqlalchemy": {"engine", "tracking"},
    "fsspec": {"shared"},
    "timm": {"students", "learning", "choices", "data", "weights"},
    "huggingface_hub": {"students"},
    "fvcore": {"cost"},
    "plotly": {"report"},
    "typer": {"cli"},
    "rich": {"cli", "console"},
    "torchvision": {"data"},
    "pydantic": {"config", "sections", "parameters"},
    "pydantic_core": {"console", "parameters"},
    "packaging": {"doctor"},
    "sklearn": {"data", "engine", "drift", "teachers"},
    "matplotlib": {"fairness"},
    "jinja2": {"fairness"},
    "captum": {"generalisation"},
    "onnxruntime": {"runtime"},
    "torch_pruning": {"students"},
    "executorch": {"runtime"},
}


def module_of(path: Path) -> str:
    """The file's name below autokd/, or its folder's: what the layers list."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports_of(path: Path) -> set[str]:
    """Dotted names of all that a file imports, wherever in it; ``from a import b`` gives ``a.b``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    """The same of autokd alone, as LAYERS lists it; what is no module of it is in `__init__`."""
    second = {
        f"{name}.".split(".")[1] for name in imports_of(path) if f"{name}.".startswith("autokd.")
    }
    return {name if name in LAYER_OF else "__init__" for name in second}


def third_parties(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


def test_every_module_has_its_layer():
    assert {module_of(path) for path in FILES} == set(LAYER_OF)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_lower_layers_alone(path):
    module = module_of(path)
    others = own_imports(path) - {module}
    higher = {other for other in others if LAYER_OF[other] >= LAYER_OF[module]}
    assert not higher, f"{module} imports {sorted(higher)}"


@pytest.mark.parametrize("party", DOORS)
def test_a_third_party_comes_in_by_its_own_door_alone(party):
    users = {module_of(path) for path in FILES if party in third_parties(path)}
    assert users <= DOORS[party]
    assert users, f"nothing uses {party}: it needs no door"


@pytest.mark.parametrize("module", ["records", "errors", "quantities", "parameters", "config"])
def test_records_and_configuration_know_no_tensors(module):
    heavy = {"torch", "numpy", "pandas", "timm", "optuna", "mlflow"}
    assert not third_parties(PACKAGE / f"{module}.py") & heavy


@pytest.mark.parametrize("module", ["autokd", "autokd.cli", "autokd.config"])
def test_nothing_heavy_is_imported_before_it_is_needed(module):
    code = f"import sys, {module}; print(*sorted({{'torch', 'mlflow', 'optuna', 'timm', 'pandas'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
