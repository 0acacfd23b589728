"""The code that makes a model of one's own: a module, and what it imports from the folder that it lies in."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

INSTALLED = ("site-packages", "dist-packages")
_imported: dict[str, str] = {}  # module -> hash of its code when this process imported it


def import_fresh(name: str) -> ModuleType:
    """Import a module as a new process would, also where its code was edited since this one imported it.

    Modules are looked for in the working directory too, as `python -m` does.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last: nothing there hides an installed package
    found = find_code(name)
    now = _hash(found)
    if _imported.setdefault(name, now) != now:
        for each in found:
            sys.modules.pop(each, None)
        importlib.invalidate_caches()
        _imported[name] = now
    return importlib.import_module(name)


def hash_code(name: str) -> str:
    """SHA-256 of a module's code and of all that it imports from the same folder, however deep."""
    import_fresh(name)
    return _imported[name]


def _hash(code: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in sorted(code.items()):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def find_code(name: str) -> dict[str, Path]:
    """Module name -> file; of an installed package the module alone.

    What is imported in a way that the text does not show is not found.
    """
    top = name.partition(".")[0]
    spec = None if top == "__main__" else importlib.util.find_spec(top)  # a notebook has no file
    places = [*(spec.submodule_search_locations or ()), spec.origin] if spec else []
    if not places or places[0] is None:
        return {}
    root = Path(places[0]).parent
    found: dict[str, Path] = {}
    left = [*_with_parents(name)]
    while left:
        each = left.pop()
        path = _file_of(each, root)
        if path is not None and each not in found:
            found[each] = path
            left += [] if root.name in INSTALLED else _imports(each, path)
    return found


def _file_of(name: str, root: Path) -> Path | None:
    stem = root.joinpath(*name.split("."))
    return next((p for p in (stem / "__init__.py", stem.with_suffix(".py")) if p.is_file()), None)


def _imports(name: str, path: Path) -> Iterator[str]:
    """Every module that the code may mean; many are none."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = [*(above if node.level else []), *([node.module] if node.module else [])]
            for alias in node.names:
                yield from _with_parents(".".join([*base, alias.name]))


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))
