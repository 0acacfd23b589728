"""What README and docs/ say can be typed, copied and followed. What they run is in test_documents_run."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from documents import PAGES, ROOT, Block, all_blocks, programs

from autokd.cli import app
from autokd.config import parse_config
from autokd.space import Space
from autokd.students.families import FAMILIES

APP = typer.main.get_command(app)
COMMANDS = APP.commands  # type: ignore[attr-defined]
RUN = {"console", "python"}
READ = {"yaml": "validated here", "bash": "a script", "text": "nothing to type"}
OTHERS = {  # options in the text that are other programs'
    "--allowed-hosts", "--env-manager", "--generate", "--numprocesses", "--strict",
}  # fmt: skip
WHOLE = {"data", "teacher", "students"}
SMALLEST: dict[str, Any] = {
    "data": {"source": "digits"},
    "teacher": {"model": "resnet", "train": {}},
    "students": {"model": "resnet"},
}


def named(block: Block) -> str:
    return block.where


def options(command: Any) -> set[str]:
    found = {name for each in command.params for name in [*each.opts, *each.secondary_opts]}
    return {name for name in found if name.startswith("-")} | {"--help"}


EVERY_OPTION = set().union(*map(options, COMMANDS.values()))
OF_BENCHMARKS = {
    option
    for script in (ROOT / "benchmarks").glob("*.py")
    for option in re.findall(r'"(--[a-z-]+)"', script.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize("block", all_blocks(), ids=named)
def test_every_block_has_a_language_that_says_what_is_done_with_it(block: Block) -> None:
    assert block.language in RUN | READ.keys(), f"{block.where}: {block.language!r}"
    if block.language == "console":
        assert block.text.startswith("$ "), f"{block.where}: begins with no command"
    if block.language == "bash":
        assert block.not_run, f"{block.where}: scripts are not run; say why"
    assert block.not_run != "", f"{block.where}: no reason"


@pytest.mark.parametrize("block", all_blocks("console", "bash"), ids=named)
def test_every_autokd_command_parses(block: Block) -> None:
    for line in block.commands():
        for words in programs(line):
            if "autokd" not in words[:6]:  # torchrun … autokd run
                continue
            name, *arguments = words[words.index("autokd") + 1 :]
            assert name in COMMANDS, f"{block.where}: autokd {name}"
            with COMMANDS[name].make_context(name, arguments):
                pass  # raises for an unknown option, a missing argument, a value that is no number


@pytest.mark.parametrize("block", all_blocks("console"), ids=named)
def test_scripts_and_their_options_are_there(block: Block) -> None:
    for line in block.commands():
        for words in programs(line):
            if words[0] != "python" or not words[1].endswith(".py"):
                continue
            source = (ROOT / words[1]).read_text(encoding="utf-8")
            for word in words[2:]:
                if word.startswith("--"):
                    assert f'"{word}"' in source, f"{block.where}: {words[1]} has no {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for code in re.findall(r"`((?:autokd |--)[^`\n]+)`", text):
        words = code.split()
        known = EVERY_OPTION | OF_BENCHMARKS | OTHERS
        if words[0] == "autokd" and words[1].startswith("-"):
            known = options(APP)  # of autokd itself
        elif words[0] == "autokd" and not words[1].isupper():
            assert words[1] in COMMANDS, f"{page.name}: {code}"
            known = options(COMMANDS[words[1]])
        if any(word.endswith(".py") for word in words):
            continue
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in known, f"{page.name}: {code}"


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=named)
def test_every_search_file_is_valid_and_every_part_of_one_fits_into_one(block: Block) -> None:
    given = yaml.safe_load(block.text)
    record = given if given.keys() >= WHOLE else merged(SMALLEST, given)
    config = parse_config(record, source=block.where)
    Space(config, image_size=config.data.image_size or 32)
    for teacher in config.teacher.members if "teacher" in given else ():
        if teacher.model in FAMILIES:
            assert teacher.arguments.keys() == FAMILIES[teacher.model].parameters.keys()


def merged(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The smallest search file with these sections: a teacher's own is whole, others add to it."""
    whole = {"teacher"} | ({"data"} if "source" in given.get("data", {}) else set())
    found = dict(base)
    for key, value in given.items():
        found[key] = value if key in whole else {**base.get(key, {}), **value}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("name", ["search_file", "commands"])
def test_the_reference_says_what_the_program_says(name: str) -> None:
    generator = runpy.run_path(str(ROOT / "docs" / "generators" / f"{name}.py"))
    written = (ROOT / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8")
    assert of_autokd(generator["page"]()) == of_autokd(written), "make reference writes it again"


def of_autokd(text: str) -> list[str]:
    """Lines without those that timm's version decides."""
    return [line for line in text.strip().splitlines() if "timm" not in line]


def anchors(page: Path) -> set[str]:
    """As GitHub and mkdocs make them of headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ +(.+)$", text, flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"\s+", "-", heading) for heading in plain}


def test_a_line_of_shell_is_taken_apart_as_a_shell_would() -> None:
    line = 'A=1 autokd search x.yaml --workers $((N * 2)) --shared "$PWD/s" > log; ray stop  # so'
    found = [*programs(line)]
    assert found[0][:5] == ["autokd", "search", "x.yaml", "--workers", "1"]
    assert found[-1] == ["ray", "stop"]
    assert shlex.split(line, comments=True)[0] == "A=1"
