"""MACs of every model that timm names, at its own image size, by two counts; and against figures that timm publishes.

    python benchmarks/every_model.py count      # goes on where benchmarks/data/every_model.csv ends
    python benchmarks/every_model.py published  # benchmarks/data/timm_published.csv, model by model
    python benchmarks/every_model.py print      # what docs/costs.md says of both

Set OMP_NUM_THREADS=1. The deployed form, 1000 classes. The second count needs the model itself with its memory, and is made up
to 5 GMACs. `count --only NAME …` counts these again and writes nothing.
"""

from __future__ import annotations

import argparse
import csv
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import timm
import torch
from torch import nn

from autokd.cost import check_counts, count_as_published, count_on_meta, count_with_fvcore
from autokd.errors import AutoKDError, one_line
from autokd.records import StudentSpec
from autokd.students import create_student, deployed, unfused_attention

DATA = Path(__file__).parent / "data"
COUNTS, PUBLISHED = DATA / "every_model.csv", DATA / "timm_published.csv"
COLUMNS = ("model", "px", "macs", "fvcore_macs", "params", "error")
MOST = 5e9  # MACs
CLASSES = 1000


def build(name: str, px: int) -> nn.Module:
    return create_student(StudentSpec(model=name, image_size=px), classes=CLASSES, channels=3)


def count(name: str) -> dict[str, Any]:
    """One row. Whatever goes wrong is in it, under `error`."""
    channels, *_, px = timm.get_pretrained_cfg(name, allow_unregistered=False).input_size
    row: dict[str, Any] = {"model": name, "px": px}
    shape = (channels, px, px)
    try:
        meta = count_on_meta(lambda: deployed(build(name, px)), shape)
        row |= {"macs": meta.macs, "params": meta.params}
        if meta.macs <= MOST:
            other = count_with_fvcore(deployed(build(name, px)), shape)
            row["fvcore_macs"] = other.macs
            check_counts(meta, other)
    except AutoKDError as error:
        row["error"] = one_line(error)
    except Exception as error:  # noqa: BLE001 - a model that can't be counted is a result
        row["error"] = f"{type(error).__name__}: {one_line(error)}"
    return row


def count_all(only: list[str]) -> None:
    known = set() if only or not COUNTS.exists() else set(pd.read_csv(COUNTS)["model"])
    names = only or [name for name in timm.list_models() if name not in known]
    with sys.stdout if only else COUNTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not known:
            writer.writeheader()
        for name in names:
            writer.writerow(count(name))
            file.flush()


def published() -> Iterator[dict[str, Any]]:
    """timm's figure of each model, rounded to 10 MMACs, beside ours. timm folds branches before it counts."""
    for row in pd.read_csv(PUBLISHED, comment="#").to_dict("records"):
        name, px = str(row["model"]), int(row["px"])
        shape = (3, px, px)
        with unfused_attention():
            convention = count_as_published(deployed(build(name, px)), shape)
        ships = count_on_meta(lambda name=name, px=px: deployed(build(name, px)), shape)
        yield {
            "model": name,
            "px": px,
            "published": row["gmacs"],
            "convention": convention.macs / 1e9,
            "deployed": ships.macs / 1e9,
            "published_params": row["params_m"],
            "params": ships.params / 1e6,
        }


def print_published() -> None:
    print("| model | px | timm, GMACs | its convention, by us | MACs | timm, params, M | params |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    equal = total = 0
    for row in published():
        total += 1
        equal += round(row["convention"], 2) == row["published"]
        print(
            f"| {row['model']} | {row['px']} | {row['published']:.2f} | {row['convention']:.4f} "
            f"| {row['deployed']:.4f} | {row['published_params']:.2f} | {row['params']:.2f} |",
            flush=True,
        )
    print(f"{equal} of {total} equal to the last published digit in its convention")


def print_counts() -> None:
    table = pd.read_csv(COUNTS, index_col="model")
    small = table[table["macs"] <= MOST]
    twice = small[small["fvcore_macs"].notna()]
    difference = (twice["fvcore_macs"] / twice["macs"] - 1).abs()
    print(f"{len(table)} models of timm {timm.__version__}, torch {torch.__version__}")
    print(f"counted {table['macs'].notna().sum()}, up to 5 GMACs {len(small)}, twice {len(twice)}")
    print(
        f"equal to the last MAC {(difference == 0).sum()}, within 0.5 % {(difference <= 0.005).sum()}"
    )
    for name, share in difference[difference > 0].items():
        print(f"{name}: {share:.3%}")
    for name, error in table["error"].dropna().items():
        print(f"{name}: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["count", "published", "print"])
    parser.add_argument("--only", nargs="+", default=[])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("timm").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    if options.what == "count":
        count_all(options.only)
    elif options.what == "published":
        print_published()
    else:
        print_counts()


if __name__ == "__main__":
    main()
