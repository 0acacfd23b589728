"""Images of a set as files, as people have them: copies where the set lies in files, else PNGs of what it holds."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from torchvision.transforms.v2.functional import to_pil_image

from autokd.config import DataConfig
from autokd.data.folder import FolderReader
from autokd.data.sources import read_source


def write_image_files(
    config: DataConfig, rows: Sequence[int], folder: Path, *, cache: Path
) -> list[Path]:
    """The images of these rows of the set, whole, as numbered files in `folder`."""
    reader = read_source(config, cache).reader
    written = []
    for place, row in enumerate(rows):
        if isinstance(reader, FolderReader):
            source = reader.root / reader.files[row]
            file = folder / f"{place:04}{source.suffix}"
            shutil.copyfile(source, file)
        else:
            file = folder / f"{place:04}.png"
            to_pil_image(reader.read(row)).save(file)
        written.append(file)
    return written
