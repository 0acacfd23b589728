"""A search file that was written, and what comes next."""

from __future__ import annotations

import shlex
from pathlib import Path

from autokd.console.output import console


def print_drafted(file: Path, text: str) -> None:
    """What its first comment says of the images, and the commands that go on."""
    out = console()
    comment, _, _ = text.partition("\n\n")
    about = comment.partition("#\n")[2].replace("# ", "")
    name = shlex.quote(str(file))
    out.print(about, markup=False)
    out.print(f"{file}: written; read it, it says why each value is as it is", markup=False)
    out.print(f"next:  autokd check {name}", markup=False, soft_wrap=True)
    out.print(f"then:  autokd search {name}", markup=False, soft_wrap=True)
