"""The notebooks run from top to bottom, are kept without what came of it, and their pages in docs/ are of these very cells."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs pip install -e .[dev]")

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = ROOT / "docs" / "notebooks"
MOST_BYTES = 600_000  # of all pages with their pictures
ABSOLUTE = re.compile(r"(?<![\w.:/])/(?:home|root|Users|tmp|work|mnt|opt|usr|var)/")

_spec = importlib.util.spec_from_file_location("render", ROOT / "notebooks" / "render.py")
assert _spec is not None
assert _spec.loader is not None
render = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(render)

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def stale_cell(path: Path, page: str) -> str | None:
    """The first cell that the page has not in its place, or code that no cell has."""
    place = 0
    for cell in nbformat.read(path, as_version=4).cells:
        source = render.from_docs(cell.source)
        text = f"```python\n{source}\n```" if cell.cell_type == "code" else source
        found = page.find(text, place)
        if found < 0:
            return source
        place = found + len(text)
    blocks = page.count("\n```python\n")
    return None if blocks == len(code_cells(path)) else f"{blocks} blocks of code"


def test_there_are_four():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]


@each_notebook
def test_a_notebook_is_kept_without_outputs(path):
    for cell in code_cells(path):
        assert (cell.outputs, cell.execution_count) == ([], None)


@each_notebook
def test_neither_a_notebook_nor_its_page_names_a_place_of_one_machine(path):
    for text in (path.read_text(), (PAGES / f"{path.stem}.md").read_text()):
        assert not ABSOLUTE.search(text)


@each_notebook
def test_a_page_is_of_its_notebooks_very_cells(path):
    """`make notebooks` writes it again."""
    assert stale_cell(path, (PAGES / f"{path.stem}.md").read_text(encoding="utf-8")) is None


@each_notebook
def test_a_page_of_other_cells_is_stale(path):
    page = (PAGES / f"{path.stem}.md").read_text(encoding="utf-8")
    last = code_cells(path)[-1].source
    assert stale_cell(path, page.replace(last, f"{last}\n1 + 1")) == last
    assert stale_cell(path, f"{page}\n```python\n1 + 1\n```\n").endswith("blocks of code")


@each_notebook
def test_pictures_and_links_of_a_page_lead_to_files(path):
    page = (PAGES / f"{path.stem}.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page)
    assert targets
    assert [target for target in targets if not (PAGES / target).is_file()] == []


def test_pages_are_small_and_have_no_picture_that_is_not_shown():
    files = [path for path in PAGES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    shown = "".join((PAGES / f"{path.stem}.md").read_text() for path in NOTEBOOKS)
    pictures = [path.relative_to(PAGES).as_posix() for path in files if path.suffix == ".png"]
    assert [picture for picture in pictures if picture not in shown] == []


@pytest.mark.slow
@each_notebook
def test_a_notebook_runs_from_top_to_bottom_against_a_store_of_its_own(path, tmp_path):
    subprocess.run(
        [sys.executable, ROOT / "notebooks" / "render.py", path.stem, "--docs", tmp_path],
        check=True,
        timeout=1500,
    )
    assert stale_cell(path, (tmp_path / f"{path.stem}.md").read_text(encoding="utf-8")) is None
