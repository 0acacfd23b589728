"""Runs the notebooks beside this file, each in a folder of its own, and writes what comes of them into docs/notebooks/.

python notebooks/render.py                     # all
python notebooks/render.py 01_quickstart --docs /tmp/pages
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
from jinja2 import DictLoader
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SECONDS = 600  # for a cell: a machine that is busy with other things is slow
NO_WIDGETS = (
    "ignore:IProgress not found"  # tqdm's, where ipywidgets is not installed
)

# Outputs stand in blocks of their own, and long lines stay as they are.
TEMPLATE = """{% extends 'markdown/index.md.j2' %}
{% block stream %}
```text
{{ output.text | trim }}
```
{% endblock stream %}
{% block data_text scoped %}
```text
{{ output.data['text/plain'] | trim }}
```
{% endblock data_text %}
{% block data_html scoped %}
{{ output.data['text/html'] | bare_table }}
{% endblock data_html %}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="such as 01_quickstart; none: all")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "notebooks")
    arguments = parser.parse_args()
    for name in arguments.names or sorted(
        path.stem for path in HERE.glob("*.ipynb")
    ):
        write_page(name, execute(name), arguments.docs)


def execute(name: str) -> NotebookNode:
    """The notebook with its outputs, run by this very Python as in a fresh clone; nothing of the user's IPython is read."""
    notebook = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
    with tempfile.TemporaryDirectory(prefix=f"autokd-{name}-") as folder:
        place = Path(folder) / "notebooks"
        place.mkdir()
        shutil.copytree(ROOT / "search_spaces", Path(folder) / "search_spaces")
        kernels = KernelSpecManager(
            kernel_dirs=[]
        )  # none that is installed elsewhere
        manager = AsyncKernelManager(kernel_spec_manager=kernels)
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=SECONDS,
            startup_timeout=SECONDS,
            resources={"metadata": {"path": str(place)}},
        )
        own = {
            "IPYTHONDIR": str(Path(folder) / "ipython"),
            "PYTHONWARNINGS": NO_WIDGETS,
        }
        client.execute(env=os.environ | own)
    return notebook


def write_page(name: str, notebook: NotebookNode, docs: Path) -> None:
    exporter = MarkdownExporter(
        template_file="page",
        extra_loaders=[DictLoader({"page": TEMPLATE})],
        filters={"bare_table": bare_table},
    )
    for cell in notebook.cells:
        cell.source = from_docs(cell.source)
    text, resources = exporter.from_notebook_node(
        notebook,
        resources={"output_files_dir": f"{name}_files", "unique_key": "picture"},
    )
    shutil.rmtree(docs / f"{name}_files", ignore_errors=True)
    for path, content in resources["outputs"].items():
        (docs / path).parent.mkdir(parents=True, exist_ok=True)
        (docs / path).write_bytes(content)
    docs.mkdir(parents=True, exist_ok=True)
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [
        re.sub(r"\n{3,}", "\n\n", between) for between in parts[::2]
    ]  # code stays as it is
    (docs / f"{name}.md").write_text(
        "".join(parts).strip() + "\n", encoding="utf-8"
    )


def from_docs(source: str) -> str:
    """Links into docs/ as a page in docs/notebooks/ has them, and links to other notebooks as links to their pages."""
    return re.sub(
        r"\]\((\d\d_\w+)\.ipynb", r"](\1.md", source.replace("](../docs/", "](../")
    )


def bare_table(html: str) -> str:
    """pandas' tables without the styles and random names that it gives them."""
    html = re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL)
    html = re.sub(r"</?div[^>]*>", "", html)
    html = re.sub(r"<(table|thead|tbody|tr|th|td)\b[^>]*>", r"<\1>", html)
    return re.sub(r"\n\s*", "\n", html).strip()


if __name__ == "__main__":
    main()
