"""What is shown or kept of an address: everything but its passwords and tokens."""

from __future__ import annotations

import re

_NAMES = r"[\w.-]*(?:token|passw(?:or)?d|pwd|secret|api[_-]?key|access[_-]?key|signature|credentials?)|sig|auth|key"
_IN_QUERY = re.compile(rf"(?i)([?&;](?:{_NAMES})=)[^&;#\s'\"]+")
_USER = re.compile(r"([a-zA-Z][\w+.-]*)://([^\s'\"/]*)@")  # up to the last @ before the path
# A database's password may hold slashes, which SQLAlchemy reads; in other addresses a colon stands before a port.
_DATABASE = re.compile(
    r"((?:postgresql|mysql|mariadb|oracle|mssql)[\w+]*://[^:/@\s'\"]*:)[^\s'\"]*@"
)


def without_secrets(text: str) -> str:
    """Any text, with `***` for each password and token of the addresses in it; of http(s) the user goes too.

    So that what is left of a server's address still leads there.
    """
    return _IN_QUERY.sub(r"\1***", _USER.sub(_without_user, _DATABASE.sub(r"\1***@", text)))


def _without_user(found: re.Match[str]) -> str:
    scheme, user = found.groups()
    if scheme.lower() in ("http", "https"):
        return f"{scheme}://"
    name, colon, _ = user.partition(":")
    return f"{scheme}://{name}:***@" if colon else found[0]
