"""Answers of an exported student for image files: the code that travels inside an MLflow model of one.

This file needs numpy, pandas, Pillow and onnxruntime alone, neither torch nor autokd, and can be copied beside a ``student.onnx``:

    import pandas, student_model
    model = student_model.StudentModel("student.onnx")
    model.predict(pandas.DataFrame({"image": [open("seven.png", "rb").read()]}))

A graph is numbers and operators: nothing of it is run as code.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

COLUMN = "image"  # of the bytes of image files
PREDICTION, PROBABILITY = "prediction", "probability"
BATCH = 64  # images in memory at a time
_DEEP = ("I", "F")  # 16 bits and more: Pillow would clip them to 8
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

Pixels = NDArray[np.float32]


class StudentModel:
    """An ONNX file of `autokd export`, with its classes and the way in which its images are prepared."""

    def __init__(self, path: str | Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = (
            1  # as its latency was measured; a server has several workers
        )
        options.log_severity_level = 3  # errors
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        (entry,) = self._session.get_inputs()
        facts = self._session.get_modelmeta().custom_metadata_map
        if "classes" not in facts or entry.name != "pixels":
            raise ValueError(f"{path}: was not written by `autokd export` to take pixels of 0..255")
        self.classes: list[str] = json.loads(facts["classes"])
        self.channels, self.image_size = int(entry.shape[1]), int(entry.shape[2])
        # What it was trained on lay in squares of this size, from which its own was made.
        self.loaded_size = int(facts.get("loaded_size", self.image_size))

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002 - mlflow's
        """For each row's `image`: the class, its probability, and ``p_<class>`` of every class.

        Raises ValueError that names the row where it is no image.
        """
        if COLUMN not in rows:
            found = ", ".join(map(str, rows.columns)) or "none"
            raise ValueError(
                f"needs a column '{COLUMN}' with the bytes of image files; has {found}"
            )
        parts = [self._answer(batch) for batch in self._batches(list(rows[COLUMN]))]
        chances = np.concatenate([np.empty((0, len(self.classes))), *parts])
        best = chances.argmax(axis=1)
        answers = {
            PREDICTION: np.array(self.classes, dtype=object)[best],
            PROBABILITY: chances.max(axis=1, initial=0.0),
        }
        each = {f"p_{name}": chances[:, place] for place, name in enumerate(self.classes)}
        return pd.DataFrame(answers | each, index=rows.index)

    def prepare(self, image: Image.Image) -> Pixels:
        """float32 (channels, S, S) of 0..255, as autokd shows images to students.

        The short side is resized (bilinear, antialiased), then the centre is cut out. Transparency is dropped, rotation in
        EXIF is not applied. Against autokd's own resizing in PyTorch a pixel may differ by 1 of 255.
        """
        image = image.convert("L" if self.channels == 1 else "RGB")
        side, (width, height) = self.loaded_size, image.size
        if (width, height) != (side, side):
            scale = side / min(width, height)
            width, height = (max(side, round(length * scale)) for length in (width, height))
            left, top = round((width - side) / 2), round((height - side) / 2)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
            image = image.crop((left, top, left + side, top + side))
        pixels = np.asarray(image, dtype=np.float32).reshape(side, side, self.channels)
        return self._to_size(pixels.transpose(2, 0, 1))

    def _to_size(self, pixels: Pixels) -> Pixels:
        """From the size of the data to the student's, unrounded."""
        if self.image_size == self.loaded_size:
            return pixels
        size = (self.image_size, self.image_size)
        channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in pixels]
        return np.stack([np.asarray(c.resize(size, Image.Resampling.BILINEAR)) for c in channels])

    def _batches(self, files: list[Any]) -> Iterator[Pixels]:
        for start in range(0, len(files), BATCH):
            rows = range(start, min(start + BATCH, len(files)))
            yield np.stack([self._read(files[row], row) for row in rows])

    def _read(self, content: Any, row: int) -> Pixels:
        if not isinstance(content, (bytes, bytearray, memoryview, str)):
            raise ValueError(
                f"row {row}: '{COLUMN}' holds {type(content).__name__}; give the bytes of an image file, or their base64 as text"
            )
        try:
            # MLflow's server decodes base64 in some of the forms that it takes, in others not
            file = base64.b64decode(content) if isinstance(content, str) else content
            with Image.open(io.BytesIO(file)) as image:
                if image.mode.startswith(_DEEP):
                    raise ValueError(f"its mode is {image.mode}; convert it to 8 bits a channel")
                return self.prepare(image)
        except _UNREADABLE as error:
            reason = str(error).split("<_io")[0].strip()  # Pillow ends with the buffer's address
            raise ValueError(f"row {row}: '{COLUMN}' is not a readable image: {reason}") from None

    def _answer(self, pixels: Pixels) -> NDArray[np.float64]:
        """Probabilities (N, classes)."""
        (logits,) = self._session.run(["logits"], {"pixels": pixels})
        shifted = np.asarray(logits, dtype=np.float64)
        shifted = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        chances: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
        return chances


def _load_pyfunc(path: str) -> StudentModel:
    """What mlflow.pyfunc calls."""
    return StudentModel(path)
