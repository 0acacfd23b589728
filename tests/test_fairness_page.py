"""The report of an audit, made from real records: what a reader, a screen reader and a hostile name find in it."""

from __future__ import annotations

import base64
import copy
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autokd.fairness.audit import audit
from autokd.fairness.charts import text_colour
from autokd.fairness.display import DASH, gap, p_value, percent, points, short, state
from autokd.fairness.markdown import audit_markdown, escape
from autokd.fairness.page import audit_html
from autokd.records import AuditPolicy

pytestmark = pytest.mark.slow

DATA = pd.read_csv(Path(__file__).parent / "fairness_reference" / "data.csv")
LABELS = DATA["y"].to_numpy()
NAMES = ["ok", "dent", "scratch"]
SECTIONS = [
    "verdict", "who", "teacher", "change", "crossed", "calibration", "seeds", "images", "gates", "limits", "glossary",
]  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    "a | b \"c\" 'd' & $x$ `e` *f*",
    "Größe 測試 \U0001f600",
    "long " * 60,
    "]]><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
]
VOID = {"meta", "img", "br", "link", "hr", "input"}


def probabilities(letter):
    values = DATA[[f"{letter}_p{c}" for c in range(3)]].to_numpy()
    return values / values.sum(axis=1, keepdims=True)


TEACHER, STUDENT = probabilities("t"), probabilities("s")


def reference(**changes):
    arguments = {
        "teacher": TEACHER,
        "groups": DATA[["sex", "site"]],
        "class_names": NAMES,
        "ids": DATA["id"].to_numpy(),
        "policy": AuditPolicy(resamples=200),
        "about": {"title": "Reference", "split": "test"},
    }
    return audit(LABELS, STUDENT, **(arguments | changes)).record


@pytest.fixture(scope="module")
def record():
    seeds = {
        f"{name}_seeds": DATA[[f"{name[0]}_pred{k}" for k in range(5)]].to_numpy().T
        for name in ("teacher", "student")
    }
    return reference(assistants={"assistant_1": (TEACHER + STUDENT) / 2}, **seeds)


@pytest.fixture(scope="module")
def html(record):
    return audit_html(record)


class Page(HTMLParser):
    """Tags must close in the order they open; text is what a reader sees."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(data)

    def all(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


def test_the_page_is_well_formed_and_no_id_comes_twice(html):
    ids = [found["id"] for _, found in Page(html).tags if "id" in found]
    assert len(ids) == len(set(ids)) > len(SECTIONS)


def test_every_link_and_reference_inside_the_page_has_its_target(html):
    page = Page(html)
    ids = {found["id"] for _, found in page.tags if "id" in found}
    targets = {found["href"] for found in page.all("a", "use")}
    targets |= {f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", html)}
    assert targets
    assert {target.removeprefix("#") for target in targets} <= ids


def test_the_page_asks_the_network_for_nothing(html):
    page = Page(html)
    assert not re.search(r"https?:|//\w|@import", html)
    assert not page.all("link", "iframe", "object", "embed")
    assert all("src" not in found for found in page.all("script"))


def test_the_sections_stand_in_their_order(html):
    found = re.findall(r'<h2 id="(\w+)"', html)
    assert found == SECTIONS
    assert [found["href"] for found in Page(html).all("a") if found["href"] in {f"#{s}" for s in SECTIONS}][1:] == [
        f"#{section}" for section in SECTIONS
    ]  # fmt: skip


def test_headings_go_down_one_level_at_a_time_below_one_h1(html):
    levels = [int(tag[1]) for tag, _ in Page(html).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_what_is_not_text_has_a_label_and_what_scrolls_can_be_reached(html):
    page = Page(html)
    charts = page.all("svg")
    assert len(charts) >= 10
    assert all(found["role"] == "img" and found["aria-label"] for found in charts)
    assert all(found["alt"] for found in page.all("img"))
    regions = [found for found in page.all("div") if found.get("class") == "scroll"]
    assert all(found["tabindex"] == "0" and found["aria-label"] for found in regions)
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(found.get("scope") in ("row", "col") for found in page.all("th"))


def test_the_first_lines_say_the_verdict_in_words(record, html):
    text = " ".join("".join(Page(html).text).split())
    assert "✕ fail" in text
    start = text.index("✕ fail")
    assert "site C loses 19.2 pp" in text[start : start + 600]
    assert "✕ FAIL" in audit_markdown(record)


def test_every_group_is_named_judged_or_not(record, html):
    cells = set(re.findall(r'<th scope="row"[^>]*>([^<]*)</th>', html))
    for block in record["by"].values():
        assert set(block["judged"]) | set(block["not_judged"]) <= cells


def test_every_gate_that_is_not_passed_is_shown_with_its_reason(record, html):
    text = "".join(Page(html).text)
    open_gates = [gate for gate in record["gates"] if gate["state"] != "pass"]
    assert {gate["state"] for gate in open_gates} >= {"fail", "undecided"}
    assert all(gate["why"] in text for gate in open_gates)
    assert text.index("Gates not passed") < text.index("Gates passed")


def test_the_same_record_gives_the_same_bytes(record, html):
    assert audit_html(copy.deepcopy(record)) == html


def test_charts_leave_matplotlib_as_it_was(record):
    import matplotlib

    before = dict(matplotlib.rcParams)
    audit_html(record)
    assert dict(matplotlib.rcParams) == before


def hostile_record():
    rows = np.arange(600)
    return reference(
        groups={HOSTILE[1]: [HOSTILE[i % 6] for i in rows], HOSTILE[0]: (rows % 2).astype(str)},
        class_names=HOSTILE[:3],
        ids=[f"{HOSTILE[i % 6]}{i}" for i in rows],
        about={
            "title": HOSTILE[0],
            "split": HOSTILE[0],
            "notes": HOSTILE,
            "join": {HOSTILE[0]: 1},
            "hashes": {HOSTILE[4]: HOSTILE[0]},
        },
        policy=AuditPolicy(resamples=200, accept_teacher_bias=HOSTILE[4]),
    )


def test_hostile_names_are_text_and_nothing_else():
    html = audit_html(hostile_record())
    page = Page(html)
    assert len(page.all("script")) == 1  # the page's own
    assert not page.all("img")
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    text = "".join(page.text)
    for name in HOSTILE:
        assert name.strip() in text or " ".join(name.split()) in " ".join(text.split())


def test_hostile_names_keep_the_tables_of_the_markdown_whole():
    text = audit_markdown(hostile_record())
    tables = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.M)
    assert tables
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1
    assert not re.search(r"(?<!\\)<script", text)


def test_characters_that_svg_cannot_hold_do_not_break_it():
    rows = np.arange(600)
    html = audit_html(reference(groups={"g\x00": [f"\x0b{i % 2}\x1f\ufffe" for i in rows]}))
    svgs = re.findall(r"<svg.*?</svg>", html, flags=re.S)
    assert svgs
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "".join(svgs))


def test_a_teacher_alone_has_no_comparison_and_its_accepted_bias_is_printed():
    policy = AuditPolicy(resamples=200, accept_teacher_bias="known & accepted")
    record = audit(LABELS, teacher=TEACHER, groups=DATA[["sex", "site"]], policy=policy).record
    html = audit_html(record)
    assert "no student yet" in html
    assert html.index("accepted in writing") < html.index('id="who"')
    assert "known &amp; accepted" in html
    assert re.findall(r'<h2 id="(\w+)"', html) == SECTIONS
    assert "known & accepted" in audit_markdown(record)


def test_a_student_alone_is_shown_without_a_teacher():
    record = reference(teacher=None)
    html = audit_html(record)
    assert "No teacher was given." in html
    assert "The student alone" in html
    assert re.findall(r'<h2 id="(\w+)"', html) == SECTIONS
    assert "| accuracy |" in audit_markdown(record)


def test_labels_without_probabilities_have_no_calibration_and_the_page_says_so():
    html = audit_html(audit(LABELS, STUDENT.argmax(1), teacher=TEACHER.argmax(1)).record)
    assert "only labels were given" in html
    assert DASH in html
    assert "undefined" in html


def test_classes_are_groups_where_there_is_no_metadata():
    html = audit_html(reference(groups=None))
    assert "the classes themselves are the groups" in html
    assert "Recall of the student" not in html


def test_groups_too_small_to_judge_are_shown_all_the_same():
    few = slice(0, 20)
    record = audit(
        LABELS[few], STUDENT[few], teacher=TEACHER[few], groups=DATA[["site"]][few]
    ).record
    html = audit_html(record)
    assert "No group of site is large enough to judge." in html
    assert "not judged" in html


def test_many_groups_are_drawn_in_part_and_listed_in_full():
    record = reference(groups={"writer": [f"w{i % 60:02d}" for i in range(600)]})
    html = audit_html(record)
    assert "There are 60 groups" in html
    cells = re.findall(r'<th scope="row">(w\d\d)</th>', html)
    assert set(cells) == {f"w{i:02d}" for i in range(60)}
    assert "the other 40 rows" in html
    assert "48 more groups are in audit.json" in audit_markdown(record)


@pytest.mark.slow
def test_a_page_of_many_groups_and_classes_stays_below_three_megabytes():
    random = np.random.default_rng(0)
    labels = random.integers(0, 100, 10_000)
    logits = random.normal(size=(10_000, 100)) + 4 * np.eye(100)[labels]
    other = logits + random.normal(size=logits.shape)
    teacher, student = (np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (logits, other))
    groups = {name: random.integers(0, 10, 10_000).astype(str) for name in "abcde"}
    policy = AuditPolicy(resamples=200)
    record = audit(labels, student, teacher=teacher, groups=groups, policy=policy).record
    assert len(audit_html(record).encode()) < 3_000_000


def test_thumbnails_stand_in_the_page_where_there_are_any(record):
    png = base64.b64encode(b"\x89PNG not a real one").decode()
    contested = [dict(image) | {"png": png} for image in record["contested"]]
    contested[0]["png"] = png + '"><script>alert(2)</script>'
    page = Page(audit_html(dict(record) | {"contested": contested}))
    images = page.all("img")
    assert len(images) == len(contested)
    assert all(found["src"].startswith("data:image/png;base64,") for found in images)
    assert len(page.all("script")) == 1


def test_generalisation_is_shown_by_severity_and_group(record):
    found = {
        "corruptions": [
            {"name": "gaussian_noise", "severity": s, "teacher": 0.9, "student": 0.9 - s / 10, "change": -s / 10,
             "by": {"site": {"C": {"teacher": 0.9, "student": None}}}}
            for s in (1, 3)
        ],
        "attribution": {"method": "input gradient overlap", "images": 64, "mean": 0.4, "ci95": [0.3, 0.5],
                        "by": {"site": {"C": 0.2}}, "chance": 0.01},
    }  # fmt: skip
    html = audit_html(dict(record) | {"generalisation": found})
    assert "gaussian noise" in html
    assert "−30.0" in html
    assert "input gradient overlap" in html
    assert "site = C" in html


def test_fewer_than_three_seeds_are_called_disagreement():
    seeds = DATA[["s_pred0", "s_pred1"]].to_numpy().T
    html = audit_html(reference(student_seeds=seeds))
    assert "A test needs &gt;= 3 seeds of each model (here 1 and 2): called disagreement" in html


def test_the_markdown_of_the_reference_begins_with_who_lost_what(record):
    lines = [line for line in audit_markdown(record).splitlines() if line]
    assert lines[:2] == ["# Fairness audit: Reference", "**✕ FAIL** (exit code 1)"]
    assert any(line.startswith("site C loses 19.2 pp (25 of 120") for line in lines[2:6])
    row = next(line for line in lines if line.startswith("| C | "))
    assert row.startswith("| C | ✕ fail | 120 | 88.3% | 69.2% | −19.2 | ")
    assert row.endswith(" | 25 / 2 | <0.001 | – |")
    assert r"| F\|C | ✕ fail | 48 |" in "\n".join(lines)


@pytest.mark.parametrize("ground", np.random.default_rng(0).random((50, 3)).tolist())
def test_text_in_a_heat_map_has_contrast_on_every_colour(ground):
    def luminance(colour):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    text = {"black": [0, 0, 0], "white": [1, 1, 1]}[text_colour(ground)]
    dark, light = sorted([luminance(ground), luminance(text)])
    assert (light + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (percent(0.8833), "88.3%"),
        (percent(None), DASH),
        (points(-0.1917), "−19.2"),
        (points(0.0), "0.0"),
        (points(-0.0001), "0.0"),
        (gap(0.184), "18.4 pp"),
        (p_value(0.0001), "<0.001"),
        (state("not_judged"), "· not judged"),
        (short("a\nb" * 20, 5), "a ba…"),
        (escape("a|b\n<b>"), r"a\|b \<b>"),
    ],
)
def test_figures_are_written_for_people(shown, text):
    assert shown == text
