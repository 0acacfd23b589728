"""What a student's val looked like when it was exported, kept beside it as reference.json. No image is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from autokd.data import ImageData
from autokd.drift.accuracy import Accuracy
from autokd.drift.by_group import Counts, count_groups
from autokd.drift.seen import Seen, see
from autokd.errors import DataError
from autokd.students import InputFormat
from autokd.weights import hash_file

NAME = "reference.json"
SCHEMA = "autokd.reference/1"
MOST = 2000  # images of val that figures are kept of
_AUDITS = {"val": "autokd.audit", "test": "autokd.test_audit"}  # a trial's tags


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """The file that the reference lies beside."""

    name: str
    format: str  # onnx, pt2 or executorch
    sha256: str
    inputs: InputFormat  # what it takes


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What new images are compared with."""

    source: str  # which trial it is, in words
    class_names: tuple[str, ...]
    channels: int
    image_size: int  # that images were loaded at
    flip: bool  # whether a mirrored image keeps its label
    data_name: str
    data_hash: str
    val: Accuracy
    test: (
        Accuracy | None
    )  # None: the trial was not on the front, or the file is of another precision
    audits: Mapping[str, str]  # val or test -> pass, warn, undecided or fail
    seen: Seen
    candidate: Mapping[str, Any]  # candidate.yaml: the search file too
    groups: Counts | None = (
        None  # right answers on val, group by group; None: of before they were kept
    )
    file: ModelFile | None = None  # None: the student is in a store

    @property
    def accuracy(self) -> Accuracy:
        """Test's where there is one: it chose nothing, while val is flattered by having chosen this student."""
        return self.test or self.val

    def save(self, folder: Path) -> None:
        record = {
            "schema": SCHEMA,
            "source": self.source,
            "classes": self.class_names,
            "channels": self.channels,
            "image_size": self.image_size,
            "flip": self.flip,
            "data": {"name": self.data_name, "hash": self.data_hash},
            "accuracy": {"val": asdict(self.val), "test": self.test and asdict(self.test)},
            "audits": dict(self.audits),
            "groups": self.groups,
            "file": self.file and asdict(self.file),
            "val": self.seen.to_dict(),
            "candidate": self.candidate,
        }
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
        (folder / NAME).write_text(text + "\n", encoding="utf-8")


def make_reference(
    data: ImageData,
    logits: Tensor,
    *,
    source: str,
    candidate: Mapping[str, Any],
    facts: Mapping[str, float | str],
    file: ModelFile | None = None,
    same: bool = True,
) -> Reference:
    """Of a student's logits (N, C) on val. `facts`: its trial's metrics and tags; `same`: whether they are of these numbers
    too, or of the student before it was quantised."""
    info, val = data.info, data.val
    tested = facts.get("test/accuracy") if same else None
    return Reference(
        source=source,
        class_names=info.class_names,
        channels=info.channels,
        image_size=info.image_size,
        flip=data.flip,
        data_name=info.name,
        data_hash=info.hash,
        val=count_right(logits, val.labels, split="val"),
        test=_counted(tested, info.test_count) if isinstance(tested, float) else None,
        audits={split: str(facts[tag]) for split, tag in _AUDITS.items() if same and tag in facts},
        groups=count_groups(data, logits),
        seen=see(val, logits).sample(MOST),
        candidate=candidate,
        file=file,
    )


def count_right(logits: Tensor, labels: Tensor, *, split: str) -> Accuracy:
    right = int((logits.argmax(dim=-1) == labels).sum())
    return Accuracy(split=split, correct=right, images=len(labels))


def read_reference(folder: Path) -> Reference:
    """Raises DataError where there is none, or the model beside it is not the one that it is about."""
    path = folder / NAME
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema"] != SCHEMA:
            raise DataError(
                f"{path}: is {record['schema']}, not {SCHEMA}; export the student again"
            )
        reference = _from_record(record)
    except OSError as error:
        raise DataError(
            f"{path}: can't be read: {error.strerror}; export the student again, or name its trial"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = " ".join(str(error).split())
        raise DataError(
            f"{path}: is no reference of autokd ({problem}); export the student again"
        ) from None
    assert reference.file is not None
    model = folder / reference.file.name
    if not model.is_file():
        raise DataError(f"{model}: is not there; {NAME} belongs beside the model")
    if hash_file(model) != reference.file.sha256:
        raise DataError(
            f"{model}: is not the model that {NAME} was made with; export the student again"
        )
    return reference


def _from_record(record: Mapping[str, Any]) -> Reference:
    accuracy, file = record["accuracy"], record["file"]
    given = file["inputs"]
    inputs = InputFormat(
        image_size=given["image_size"], mean=tuple(given["mean"]), std=tuple(given["std"])
    )
    return Reference(
        source=record["source"],
        class_names=tuple(record["classes"]),
        channels=record["channels"],
        image_size=record["image_size"],
        flip=record["flip"],
        data_name=record["data"]["name"],
        data_hash=record["data"]["hash"],
        val=Accuracy(**accuracy["val"]),
        test=Accuracy(**accuracy["test"]) if accuracy["test"] else None,
        audits=record["audits"],
        groups=record.get("groups"),
        seen=Seen.from_dict(record["val"]),
        candidate=record["candidate"],
        file=ModelFile(**{**file, "inputs": inputs}),
    )


def _counted(share: float, images: int) -> Accuracy:
    return Accuracy(split="test", correct=round(share * images), images=images)
