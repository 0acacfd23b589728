"""What can be learned from a search: as one page that needs no network, and as a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from autokd.insight import Importances, Insight
from autokd.report.insight.pictures import (
    family_bars,
    growth_lines,
    importance_bars,
    second_bars,
)
from autokd.report.insight.words import (
    DRIVER,
    HOW_GROWTH,
    HOW_IMPORTANCE,
    HOW_REJECTION,
    HOW_TIME,
    LIMITS,
    WAIT,
    WORKERS,
    comparison_sentence,
    excess_in_words,
    growth_sentences,
    importance_sentences,
    in_activities,
    opening_sentences,
    rejection_sentences,
    share_in_words,
    time_sentences,
)

MOST_ROWS = 15  # of a table or a picture

STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; }
h2 { font-size: 1.25rem; margin-top: 2.8rem; border-top: 1px solid #ddd; padding-top: 1.2rem; }
.found { background: #f2f6fa; border-left: 4px solid #1f77b4; padding: .6rem 1rem; }
.how { color: #555; font-size: .93rem; }
.how li { margin: .25rem 0; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .93rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { text-align: left; padding: .3rem 1.4rem .3rem 0; border-bottom: 1px solid #e5e5e5; vertical-align: top; }
td + td { white-space: nowrap; }
"""


@dataclass(frozen=True, slots=True)
class _Table:
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]  # plain text


@dataclass(frozen=True, slots=True)
class _Part:
    heading: str
    found: Sequence[str]  # sentences
    pictures: Sequence[tuple[str, go.Figure]]  # each with a heading, which may be empty
    tables: Sequence[_Table]
    how: Sequence[str]  # to read it; sentences in HTML


def insight_html(insight: Insight) -> str:
    """Each part says what was found, shows it, and says how to read it."""
    title = f"What the search {insight.study} tells"
    opening = escape(" ".join(opening_sentences(insight)))
    parts = "\n".join(_part_html(part) for part in _parts(insight))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n<script>{get_plotlyjs()}</script></head>\n"
        f"<body><h1>{escape(title)}</h1>\n<p>{opening}</p>\n{parts}\n</body></html>\n"
    )


def insight_markdown(insight: Insight) -> str:
    """The page without pictures and explanations."""
    texts = [
        f"# What the search {insight.study} tells\n",
        f"{' '.join(opening_sentences(insight))}\n",
    ]
    for part in _parts(insight):
        texts.append(f"## {part.heading}\n\n{' '.join(part.found)}\n")
        texts += [_table_markdown(table) for table in part.tables]
    return "\n".join(texts)


def _parts(insight: Insight) -> tuple[_Part, ...]:
    return (
        _importance_part(insight.importances),
        _growth_part(insight),
        _rejection_part(insight),
        _time_part(insight),
    )


def _importance_part(found: Importances) -> _Part:
    heading, sentences = "What decides who gets to the front", importance_sentences(found)
    if found.missing:
        return _Part(heading, sentences, (), (), ())
    shown = found.parameters[:MOST_ROWS]
    rows = [
        (
            each.parameter,
            share_in_words(each),
            "more" if each.stands_out else "may be chance",
            each.best_values,
            each.all_values,
        )
        for each in shown
    ]
    heads = (
        "parameter",
        "share",
        "compared with chance",
        f"the best {found.best} have",
        f"all {found.students} have",
    )
    return _Part(
        heading,
        [*sentences, comparison_sentence(found)],
        [("", importance_bars(shown))],
        [_Table(heads, rows)],
        HOW_IMPORTANCE,
    )


def _growth_part(insight: Insight) -> _Part:
    sentences, pictures = growth_sentences(insight), [("", growth_lines(insight.growth))]
    if not insight.growth[-1].hypervolume:
        return _Part("How the front grew", sentences, (), (), ())
    return _Part("How the front grew", sentences, pictures, (), HOW_GROWTH)


def _rejection_part(insight: Insight) -> _Part:
    tables = []
    if insight.broken:
        heads = ("limit", "trials over it", "over it alone", "by how much (median)")
        rows = [
            (LIMITS.get(b.limit, b.limit), str(b.trials), str(b.alone), excess_in_words(b))
            for b in insight.broken
        ]
        tables.append(_Table(heads, rows))
    if insight.failures:
        failed = [(each.reason, str(each.trials)) for each in insight.failures[:MOST_ROWS]]
        tables.append(_Table(("why trials failed (N: a number)", "trials"), failed))
    pictures = []
    if any(family.rejected for family in insight.families):
        pictures = [("Models that were proposed", family_bars(insight.families[:MOST_ROWS]))]
    return _Part(
        "What was rejected, and why",
        rejection_sentences(insight),
        pictures,
        tables,
        HOW_REJECTION if insight.broken else HOW_REJECTION[:1],
    )


def _time_part(insight: Insight) -> _Part:
    workers = in_activities(insight.worker_seconds, WORKERS)
    driver = in_activities(insight.driver_seconds, DRIVER | {WAIT: "wait for workers"})
    pictures = [
        (title, second_bars(activities))
        for title, activities in (
            ("All workers together", workers),
            ("The search's own process", driver),
        )
        if activities
    ]
    how = HOW_TIME if pictures else ()
    return _Part("Where the time went", time_sentences(insight), pictures, (), how)


def _part_html(part: _Part) -> str:
    pieces = [
        f"<h2>{escape(part.heading)}</h2>",
        f'<p class="found">{escape(" ".join(part.found))}</p>',
    ]
    for heading, figure in part.pictures:
        pieces += [f"<h3>{escape(heading)}</h3>"] if heading else []
        pieces.append(
            figure.to_html(
                full_html=False, include_plotlyjs=False, config={"displayModeBar": False}
            )
        )
    pieces += [_table_html(table) for table in part.tables]
    if part.how:
        points = "".join(f"<li>{sentence}</li>" for sentence in part.how)
        pieces.append(f'<div class="how"><b>How to read it</b><ul>{points}</ul></div>')
    return "\n".join(pieces)


def _table_html(table: _Table) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in table.heads)
    rows = (f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    body = "\n".join(rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _table_markdown(table: _Table) -> str:
    lines = [table.heads, ["---"] * len(table.heads), *table.rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
