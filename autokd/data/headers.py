"""Every image file's header, read once: mode and size, and what a person should know of how it will be read."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from autokd.data.decode import UNREADABLE, explain, refuse_deep
from autokd.data.image_tree import reading
from autokd.errors import DataError
from autokd.quantities import count_of
from autokd.whole_file import write_whole

_GREY = ("L", "1")
_ORIENTATION = 0x0112  # EXIF; 1 is upright
_FAR_FROM_SQUARE = 2  # times as long as wide: more is cut off than 4:3 and 16:9 photographs lose
_TAIL = 4096  # bytes at a file's end that tell files of one size apart
_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """What all files' headers say together. Places are those in the list of files."""

    channels: int  # 1 where all are grey
    image_size: int | None  # pixels; None: they are not square, or differ
    # How many there are of each kind, and the first one's place: what loses half or more when its centre is
    # cut out, what EXIF says is to be shown turned, and what has further pictures behind the first.
    long: tuple[int, int]
    turned: tuple[int, int]
    moving: tuple[int, int]
    same: list[list[int]]  # places of files with the same bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    mode: str
    width: int
    height: int
    turned: bool
    moving: bool
    print: str  # of the file's size and end

    def is_long(self) -> bool:
        return max(self.width, self.height) >= _FAR_FROM_SQUARE * min(self.width, self.height)


def read_headers(root: Path, files: Sequence[str], cache: Path) -> Headers:
    """Kept in `cache` for the list of files, their sizes and dates. Raises DataError that names a file that is no image."""
    stats = [file_facts(root / name) for name in files]
    stamp = hash_lines(
        f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in zip(files, stats, strict=True)
    )
    path = cache / f"image-headers-{stamp[:16]}.json"
    if path.exists():
        return Headers(**json.loads(path.read_text(encoding="utf-8")))
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as threads:
        warnings.simplefilter("ignore")  # Pillow's on damaged EXIF name no file
        headers = list(threads.map(_read_header, [root / name for name in files]))
    if bad := [header for header in headers if isinstance(header, str)]:
        more = f" (and {count_of(len(bad) - 1, 'more such file')})" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{more}")
    found = _sum_up(root, files, [header for header in headers if not isinstance(header, str)])
    write_whole(path, json.dumps(asdict(found)))
    return found


def describe_headers(found: Headers, root: Path, files: Sequence[str]) -> Iterator[str]:
    """A line for each thing that a person might not expect."""
    each = (
        (found.long, "twice as long as wide or more: all but the centre square is cut off; pad them to squares if it counts"),
        (found.turned, "to be shown turned (EXIF) and read as stored, as by timm and torchvision; turn the pixels if it counts"),
        (found.moving, "of several pictures, of which the first is read"),
    )  # fmt: skip
    for (count, first), what in each:
        if count:
            are = "is" if count == 1 else "are"
            of = f"{count:,} of {count_of(len(files), 'image')} (as {files[first]})"
            yield f"{root}: {of} {are} {what}"


def file_facts(path: Path) -> os.stat_result:
    with reading(path):
        return path.stat()


def hash_lines(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sum_up(root: Path, files: Sequence[str], headers: Sequence[_Header]) -> Headers:
    sizes = {(header.width, header.height) for header in headers}
    width, height = next(iter(sizes))
    return Headers(
        channels=1 if all(header.mode in _GREY for header in headers) else 3,
        image_size=width if len(sizes) == 1 and width == height else None,
        long=_count(header.is_long() for header in headers),
        turned=_count(header.turned for header in headers),
        moving=_count(header.moving for header in headers),
        same=_same_files(root, files, headers),
    )


def _count(found: Iterable[bool]) -> tuple[int, int]:
    """How many, and the place of the first."""
    places = [place for place, is_one in enumerate(found) if is_one]
    return len(places), places[0] if places else 0


def _same_files(root: Path, files: Sequence[str], headers: Sequence[_Header]) -> list[list[int]]:
    """Places of files with the same bytes. Those of one size and end alone are read whole."""
    alike = _groups([header.print for header in headers])
    groups = []
    for places in alike:
        digests = [_digest(root / files[place]) for place in places]
        groups += [[places[i] for i in group] for group in _groups(digests)]
    return groups


def _groups(keys: Sequence[str]) -> list[list[int]]:
    """Places of keys that occur more than once."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return [group for group in places.values() if len(group) > 1]


def _digest(path: Path) -> str:
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_header(path: Path) -> _Header | str:
    """Or what is wrong with the file."""
    try:
        with path.open("rb") as file, Image.open(file) as image:
            refuse_deep(image)
            # a photograph's .mpo holds it again for other screens
            moving = image.format != "MPO" and getattr(image, "is_animated", False)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            end = hashlib.sha256(file.read()).hexdigest()[:16]
            return _Header(
                mode=image.mode,
                width=image.width,
                height=image.height,
                turned=_is_turned(image),
                moving=bool(moving),
                print=f"{size} {end}",
            )
    except UNREADABLE as error:
        return f"{path}: {explain(error)}"


def _is_turned(image: Image.Image) -> bool:
    """Asked of what has EXIF alone: of a PNG without it Pillow would decode all pixels to look behind them."""
    if image.format != "TIFF" and "exif" not in image.info:
        return False
    return image.getexif().get(_ORIENTATION, 1) not in (0, 1)
