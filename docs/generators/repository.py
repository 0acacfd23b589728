"""Files of the repository that pages link to, and pages that lie in its root. A hook of mkdocs.

So that the built pages need nothing but themselves: a linked file becomes a file of the site.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_OUTSIDE = re.compile(r"\]\(\.\./((?!\.\.)[^)#\s]+)((?:#[^)]*)?)\)")  # ](../benchmarks/costs.py)

_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, target in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        text = _LINK.sub(lambda found: found[1] if (ROOT / found[2]).is_dir() else found[0], text)
        files.append(File.generated(config, target, content=text))
    for file in [*files.documentation_pages()]:
        if "/" in file.src_uri:
            continue
        for found in _OUTSIDE.finditer(file.content_string):
            linked = found[1].rstrip("/")
            if linked in PAGES or (ROOT / linked).is_dir():
                continue
            target = f"files/{linked}"
            if target not in files.src_uris:
                files.append(
                    File.generated(config, target, abs_src_path=str((ROOT / linked).resolve()))
                )
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    if "/" in page.file.src_uri:
        return markdown

    def moved(found: re.Match[str]) -> str:
        return f"]({PAGES.get(found[1], f'files/{found[1]}')}{found[2]})"

    return _OUTSIDE.sub(moved, markdown)
