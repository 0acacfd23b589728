"""The documentation as a folder of pages: whole, and in need of nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from documents import ROOT

import autokd
from autokd.cli import COMMANDS
from autokd.config import Config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with all warnings as errors, and with proxies that nobody answers at."""
    place = tmp_path_factory.mktemp("site")
    away = dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)],
        cwd=ROOT,
        env=os.environ | away | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return place


class Loads(HTMLParser):
    """What a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        names = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
        value = given.get(names.get(tag, ""))
        if value and not (tag == "link" and given.get("rel") in ("next", "prev", "canonical")):
            self.found.append(value)


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) > 15
    for page in pages:
        loads = Loads()
        text = page.read_text(encoding="utf-8")
        loads.feed(text)
        assert loads.found
        for each in loads.found:
            assert not re.match(r"(https?:)?//", each), f"{page.name}: {each}"
        assert 'class="mermaid"' not in text, f"{page.name}: the theme fetches what draws diagrams"


def test_no_style_sheet_loads_anything_from_elsewhere(site: Path) -> None:
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", text), sheet.name


def test_every_command_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for function, example in COMMANDS.items():
        name = function.__name__.replace("_", "-")
        assert f'id="autokd-{name}"' in text
        assert escape(example) in text


def test_every_key_of_a_search_file_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "search_file.html").read_text(encoding="utf-8")
    for section, field in Config.model_fields.items():
        keys = getattr(field.annotation, "model_fields", None)
        for name in [f"{section}.{key}" for key in keys] if keys else [section]:
            assert f'id="{name}"' in text, name
    assert 'id="data.metadata.cluster"' in text


def test_public_functions_are_in_the_reference_with_what_they_take(site: Path) -> None:
    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in {*autokd.__all__} - {"__version__", "AuditPolicy"} | {"records.AuditPolicy"}:
        assert f'id="autokd.{name}"' in text, name
    assert "path_or_config" in text
