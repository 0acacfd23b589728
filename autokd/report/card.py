"""What a click on a point shows: what it is, in lines, and where its run is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autokd.quantities import format_cost, share_of
from autokd.records import COSTS, AssistantInfo, Cost, TeacherInfo, TrialResult
from autokd.report.insight.words import LIMITS

# CARDS: group -> cards. MLflow shows pages in a frame without links, so the address can be copied there.
CARD = """
const plot = document.getElementById('{plot_id}'), cards = CARDS;
const box = document.createElement('div');
box.id = 'card';
box.style = 'font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto 2rem;padding:.6rem 1rem;'
  + 'border-left:4px solid #d62728;background:#f6f6f6';
box.hidden = true;
plot.parentNode.appendChild(box);
plot.on('plotly_click', event => {
  const point = event.points[0], card = (cards[point.data.meta] || [])[point.pointNumber];
  if (!card) return;
  box.replaceChildren();
  const head = document.createElement('b');
  head.textContent = card.title;
  box.append(head);
  for (const line of card.lines) {
    const row = document.createElement('div');
    row.textContent = line;
    box.append(row);
  }
  if (card.page) {
    const row = document.createElement('div');
    if (window.self === window.top) {
      const link = document.createElement('a');
      link.href = card.page;
      link.textContent = 'its run in MLflow';
      row.append(link);
    } else {
      const field = document.createElement('input');
      field.value = card.page;
      field.readOnly = true;
      field.size = 90;
      field.onfocus = () => field.select();
      row.append('Its run (MLflow shows this page in a frame that no link can leave; copy the address): ', field);
    }
    box.append(row);
  }
  box.hidden = false;
  box.scrollIntoView({behavior: 'smooth', block: 'nearest'});
});
"""


def card(result: TrialResult, teacher: TeacherInfo, page: str | None) -> dict[str, Any]:
    """Of a trial; `page` is its run's address in MLflow."""
    return {
        "title": f"trial {result.number}, {result.state}: {result.candidate.student.describe()}",
        "lines": [*_lines(result, teacher)],
        "page": page,
    }


def teacher_card(teacher: TeacherInfo) -> dict[str, Any]:
    lines = [
        f"val accuracy {teacher.val_accuracy:.2%}",
        costs_in_words(teacher.cost),
        teacher.source,
    ]
    return {"title": f"teacher: {teacher.name}", "lines": lines, "page": None}


def assistant_card(assistant: AssistantInfo) -> dict[str, Any]:
    lines = [
        f"val accuracy {assistant.val_accuracy:.2%}",
        costs_in_words(assistant.cost),
        "Trained once, for all trials that it teaches.",
    ]
    return {"title": f"assistant: {assistant.student}", "lines": lines, "page": None}


def _lines(result: TrialResult, teacher: TeacherInfo) -> Iterator[str]:
    if "accuracy" in result.val:
        accuracy = result.val["accuracy"]
        early = "so far, " if result.state == "stopped" else ""
        early = "before it was pruned, " if result.before_pruning else early
        kept = share_of(accuracy, teacher.val_accuracy)
        share = "" if kept is None else f", {kept:.1%} of the teacher's"
        yield f"val accuracy {early}{accuracy:.2%}{share}"
    if result.cost:
        yield costs_in_words(result.cost)
    last = result.candidate.stages[-1]
    weights = ", ".join(f"{name} {weight:.3g}" for name, weight in last.loss_weights.items())
    yield (
        f"{result.candidate.describe_stages()}; loss {weights}; temperature {last.temperature:.3g}; "
        f"learning rate {last.training.learning_rate:.3g}"
    )
    if donor := result.candidate.inherits_from():
        yield f"inherits from {donor}"
    for assistant in result.assistants:
        yield f"assistant {assistant.student}: val accuracy {assistant.val_accuracy:.2%}"
    if result.audit:
        yield f"audit on val: {result.audit.status}. {result.audit.sentence}"
    if result.control:
        yield f"control: {result.control}"
    if result.reason:
        yield result.reason


def costs_in_words(cost: Cost) -> str:
    """``MACs 218k, parameters 79.4k, …``"""
    known = {name: getattr(cost, name) for name in COSTS}
    return ", ".join(
        f"{LIMITS[name]} {format_cost(name, value)}"
        for name, value in known.items()
        if value is not None
    )
