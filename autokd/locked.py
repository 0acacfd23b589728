"""An SQLite file that somebody else has locked, and who that is: waiting alone may not help."""

from __future__ import annotations

from pathlib import Path

_LOCKS = Path("/proc/locks")  # of Linux: "1: POSIX ADVISORY WRITE 4711 08:01:1234 0 EOF"


def is_locked(error: Exception) -> bool:
    """Whether SQLite, or who passes its error on, has waited for a lock in vain."""
    return "database is locked" in str(error)


def locked_by(path: Path) -> str:
    """What is the matter and what to do, to be put behind the file's name."""
    return f"is locked by {_holder(path)}; end that or wait for it, and give the command again"


def _holder(path: Path) -> str:
    files = [path.with_name(f"{path.name}{end}") for end in ("", "-wal", "-shm")]
    inodes = {str(file.stat().st_ino) for file in files if file.exists()}
    try:
        locks = [line.split() for line in _LOCKS.read_text().splitlines()]
        for _, _, _, kind, pid, place, *_ in (fields for fields in locks if fields[1] != "->"):
            if kind == "WRITE" and place.rpartition(":")[2] in inodes:
                return f"process {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:  # not Linux, or a process of another container
        pass
    return "another process"
