"""The page on the command line, from the Typer app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from autokd.cli import app

HEAD = """# Commands

Every command, made from the program itself; `autokd COMMAND --help` says the same. Values of options replace those of the search file.
[What each exit status means, and output for scripts](../exit_statuses.md).
"""


def page() -> str:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    parts = [HEAD]
    parts += [line for name, command in commands.items() for line in _command(name, command)]
    return "\n".join(parts)


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    yield f"\n## autokd {name}\n"
    yield command.help + "\n"
    shown = [_metavar(each) if each.required else f"[{_metavar(each)}]" for each in arguments]
    yield "```text\n" + " ".join(["autokd", name, *shown, "[OPTIONS]" if options else ""]).rstrip()
    yield "```\n"
    if command.epilog:
        yield command.epilog + "\n"
    if arguments:
        yield "| argument | what it is |\n| --- | --- |"
        yield from (f"| `{_metavar(each)}` | {_cell(each.help)} |" for each in arguments)
        yield ""
    if options:
        yield "| option | value | default | what it does |\n| --- | --- | --- | --- |"
        yield from (_option(each) for each in options)


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _option(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    default = option.default if isinstance(option.default, (int, float, str)) else None
    shown = "" if default is None or option.is_flag else f"`{default}`"
    told = _cell(option.help)
    if option.envvar:
        told += f" Environment: `{option.envvar}`."
    return f"| {names} | {_value(option)} | {shown} | {told.strip()} |"


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    kind = {int: "whole number", float: "number"}.get(option.type_descriptor.annotation, "text")
    limits = [
        f"{sign} {bound:g}"
        for sign, bound in (
            ("≥", getattr(option, "min", None)),
            ("≤", getattr(option, "max", None)),
        )
        if bound is not None
    ]
    return " ".join([kind, ", ".join(limits)]).strip() + (", repeatable" if option.multiple else "")


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("\n", " ")
