"""Image files below a folder, as a person sees them in it, and what is left out and why. Classes and splits are not known here."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autokd.errors import DataError
from autokd.quantities import count_of

# What people keep photographs and drawings in, and Pillow opens. Not its readers of documents and
# of other programs' files (.pdf, .eps, .psd, .ico): those lie beside images more often than they are some.
IMAGE_SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".bmp", ".dib", ".tif", ".tiff",
    ".gif", ".avif", ".jp2", ".j2k", ".jpx", ".jpf", ".ppm", ".pgm", ".pbm", ".pnm", ".tga",
}  # fmt: skip
# What systems and programs leave in a folder, beside everything that begins with a dot.
_SYSTEM = {
    "@eadir", "#recycle", "#snapshot", "$recycle.bin", "recycler", "system volume information",
    "__macosx", "__pycache__", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
}  # fmt: skip
_SHOWN = 3  # examples in a line


@dataclass(frozen=True, kw_only=True)
class ImageTree:
    """What was found below a root. All names are relative to it."""

    images: tuple[str, ...]  # in natural order: 2.png before 10.png
    left_out: tuple[str, ...]  # in words, with counts
    again: tuple[str, ...]  # links to folders that were read where they lie


def is_hidden(name: str) -> bool:
    """Whether a file or folder is nothing that a person put there: `.git`, `@eaDir`, `Thumbs.db`."""
    return name.startswith(".") or name.lower() in _SYSTEM


def is_image(name: str) -> bool:
    _, dot, suffix = name.rpartition(".")
    return dot + suffix.lower() in IMAGE_SUFFIXES


def visible_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, links to folders among them."""
    return sorted(entry.name for entry in _entries(folder) if _mode(entry) == stat.S_IFDIR)


def loose_images(folder: Path) -> list[str]:
    """Names of the images that lie in a folder itself."""
    return sorted(
        entry.name
        for entry in _entries(folder)
        if is_image(entry.name) and _mode(entry) == stat.S_IFREG
    )


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Numbers in names by their value, letters in any case; and no two names are equal."""
    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def broken_links(folder: Path) -> list[str]:
    """Names of links in a folder that lead nowhere, or to themselves."""
    return [entry.name for entry in _entries(folder) if _mode(entry) is None]


def refuse_broken(root: Path, names: Sequence[str]) -> None:
    if names:
        raise DataError(
            f"{root / names[0]}: is a link to nothing, or to itself{_more(names, 'such link')}; "
            "bring back what it leads to, or remove it"
        )


def find_images(root: Path, tops: Sequence[str] = ("",)) -> ImageTree:
    """All images in the folders `tops` of a root, however deep; each folder once, whatever links lead to it.

    Raises DataError that names a link to nothing and a name that can't be written down.
    """
    walk = _Walk(root)
    walk.run(tops)
    refuse_broken(root, walk.broken)
    if walk.misnamed:
        raise DataError(
            f"{written(root / walk.misnamed[0])}: its name is not UTF-8{_more(walk.misnamed, 'such name')}; rename it, "
            "as records and reports could not name it"
        )
    return ImageTree(
        images=tuple(sorted(walk.images, key=natural_key)),
        left_out=tuple(walk.describe()),
        again=tuple(walk.again),
    )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What has gone since its folder was read, or may not be read, is a DataError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(
            f"{written(path)}: was there when its folder was read, and is gone; let what changes the folder end, "
            "and run this again"
        ) from None
    except OSError as error:
        raise DataError(f"{written(path)}: can't be read: {error.strerror or error}") from None


def written(name: str | Path) -> str:
    """A name as records and reports can hold it: bytes that are not UTF-8 are written out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def count_images(folder: Path) -> int:
    """Images below a folder, without following links."""
    return sum(is_image(name) for _, _, names in os.walk(folder) for name in names)


class _Walk:
    """One pass over the folders. Links to folders come last, so that a folder counts where it lies."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._tops: set[str] = set()
        self.images: list[str] = []
        self.broken: list[str] = []
        self.misnamed: list[str] = []
        self._seen: set[tuple[int, int]] = set()
        self._folders: list[str] = []
        self._links: list[str] = []
        self._hidden: dict[str, int] = {}  # folder or file: images in it
        self.again: list[str] = []
        self._special: list[str] = []
        self._others: Counter[str] = Counter()  # by suffix
        self._example = ""

    def run(self, tops: Sequence[str]) -> None:
        self._tops = set(tops)
        for top in sorted(tops):
            (self._links if (self.root / top).is_symlink() and top else self._folders).append(top)
        while self._folders or self._links:
            if self._folders:
                self._enter(self._folders.pop())
                continue
            name = self._links.pop(0)
            path = self.root / name
            if path.parent.resolve().is_relative_to(path.resolve()):
                self.again.append(name)  # a link to a folder that it lies in
            else:
                self._enter(name)

    def _enter(self, name: str) -> None:
        path = self.root / name
        with reading(path):
            facts = path.stat()
        if (facts.st_dev, facts.st_ino) in self._seen:
            self.again.append(name)
            return
        self._seen.add((facts.st_dev, facts.st_ino))
        for entry in _entries(path, hidden=True):
            child = f"{name}/{entry.name}" if name else entry.name
            if is_hidden(entry.name):
                if count := count_images(Path(entry.path)) or int(is_image(entry.name)):
                    self._hidden[child] = count
            else:
                self._sort(entry, child, beside=name in self._tops)

    def _sort(self, entry: os.DirEntry[str], name: str, *, beside: bool) -> None:
        kind, image = _mode(entry), is_image(entry.name)
        if (image or kind == stat.S_IFDIR) and not _is_text(entry.name):
            self.misnamed.append(name)
        elif kind == stat.S_IFDIR:
            (self._links if entry.is_symlink() else self._folders).append(name)
        elif kind is None and (image or not Path(entry.name).suffix):
            self.broken.append(name)
        elif image and kind == stat.S_IFREG:
            self.images.append(name)
        elif image:
            self._special.append(name)
        elif not beside:  # beside the classes lie tables and read-me files
            self._others[Path(entry.name).suffix.lower() or "without a suffix"] += 1
            self._example = self._example or name

    def describe(self) -> Iterator[str]:
        if self._hidden:
            count = sum(self._hidden.values())
            yield f"{count_of(count, 'image')} in hidden or system files and folders ({_in_order(self._hidden)})"
        if self.again:
            what = ("link to a folder that is read anyway", "links to folders that are read anyway")
            yield f"{count_of(len(self.again), *what)} ({_in_order(self.again)})"
        if self._special:
            yield f"{count_of(len(self._special), 'pipe or device', 'pipes or devices')} named as images ({_in_order(self._special)})"
        if self._others:
            kinds = ", ".join(
                f"{count} {written(suffix)}" for suffix, count in self._others.most_common(5)
            )
            yield f"{count_of(sum(self._others.values()), 'file')} of no image format that is read ({kinds}; as {written(self._example)})"


def some(names: Sequence[str]) -> str:
    """A few names, and how many there are more."""
    shown = ", ".join(map(written, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"


def _in_order(names: Iterable[str]) -> str:
    return some(sorted(names, key=natural_key))


def _more(names: Sequence[str], noun: str) -> str:
    return f" (and {count_of(len(names) - 1, f'more {noun}')})" if len(names) > 1 else ""


def _entries(folder: Path, *, hidden: bool = False) -> list[os.DirEntry[str]]:
    """By name, so that nothing depends on the order in which a disk gives them."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if hidden or not is_hidden(entry.name)]
    except OSError as error:
        raise DataError(f"{folder}: can't be read: {error.strerror or error}") from None
    return sorted(found, key=lambda entry: entry.name)


def _mode(entry: os.DirEntry[str]) -> int | None:
    """The type of what lies there or at the end of a link; None: nothing does."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG  # as the folder says: a million files need not be asked
    try:
        return stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        return None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
