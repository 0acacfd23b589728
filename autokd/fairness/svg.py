"""A matplotlib figure as SVG text that can stand inside an HTML page beside others. Draws nothing itself."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from autokd.fairness.display import short

STYLE: Any = {  # matplotlib types its keys as a list of all of them
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
    "svg.hashsalt": "autokd",  # the same figure has the same ids
    "text.parse_math": False,  # a dollar in a group's name is a dollar
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so widths agree on all machines
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#595959",
    "hatch.linewidth": 0.6,
    "hatch.color": "#767676",
}
NOTHING = dict.fromkeys(("Date", "Creator", "Format", "Type"))
LONGEST_LABEL = 300  # characters
REFERENCE = re.compile(r"url\(#([^)]+)\)")
FONT = re.compile(r"font: (?:(\S+) )?([\d.]+)px [^;]+")
DECIMALS = re.compile(r"(\d+\.\d\d)\d+")


_settings = threading.RLock()  # matplotlib has one set of them for all threads


@contextmanager
def drawing() -> Iterator[None]:
    """Settings under which charts are made; they are put back afterwards."""
    with _settings, matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # The browser has glyphs for names that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing", category=UserWarning)
        yield


def inline_svg(figure: Figure, *, label: str, prefix: str) -> str:
    """Without prolog, namespaces or metadata; ``prefix`` keeps ids apart from those of other charts."""
    label = short(label, LONGEST_LABEL)
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata=NOTHING)
    root = ElementTree.fromstring(buffer.getvalue())
    names = _referenced(root, prefix)
    for parent in list(root.iter()):
        _plain(parent, names)
        for child in list(parent):
            if child.tag.endswith("metadata"):
                parent.remove(child)
    title = ElementTree.Element("title")
    title.text = label
    root.insert(0, title)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _referenced(root: ElementTree.Element, prefix: str) -> dict[str, str]:
    """Old id -> new id of what is used again; all other ids are left out."""
    found: dict[str, str] = {}
    for element in root.iter():
        for key, value in element.attrib.items():
            targets = REFERENCE.findall(value)
            targets += [value[1:]] if key.endswith("href") and value.startswith("#") else []
            for target in targets:
                found.setdefault(target, f"{prefix}-{len(found)}")
    return found


def _plain(element: ElementTree.Element, names: dict[str, str]) -> None:
    element.tag = element.tag.rpartition("}")[2]
    attributes = {}
    for key, value in element.attrib.items():
        name = key.rpartition("}")[2]
        if name == "id":
            value = names.get(value, "")
        elif name == "href":
            value = "#" + names[value[1:]]
        elif name == "style":
            value = FONT.sub(_font, value).replace("; stroke-linejoin: miter", "")
        value = REFERENCE.sub(lambda match: f"url(#{names[match[1]]})", value)
        if value and not value.startswith("rotate(-0 "):
            attributes[name] = DECIMALS.sub(r"\1", value)
    element.attrib.clear()
    element.attrib.update(attributes)


def _font(match: re.Match[str]) -> str:
    """Size and weight alone: the page chooses the family."""
    weight = f"font-weight: {match[1]}; " if match[1] else ""
    return f"{weight}font-size: {match[2]}px"
