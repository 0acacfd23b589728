"""Learning curves of a search's trials as a small file, for `replay.py`.

Made from the ledger of a search that trained every trial to its end:

    autokd search SEARCH.yaml --strategy random --trials 500
    python benchmarks/curves.py SEARCH.yaml .autokd/ledger.db benchmarks/data/NAME.json.gz
"""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import create_engine, text

from autokd.config import load_config
from autokd.engine.ledger import Ledger


def main(search: Path, database: Path, target: Path) -> None:
    with create_engine(f"sqlite:///{database}").connect() as connection:
        (study,) = connection.execute(text("SELECT DISTINCT study FROM autokd_events")).scalars()
    ledger = Ledger(f"sqlite:///{database}", study)
    curves = [
        {
            "params": dict(entry.proposal.params),
            "candidate": entry.proposal.candidate.to_dict(),
            "cost": asdict(entry.result.cost),
            "val": [round(epoch.val_accuracy, 6) for epoch in entry.result.history],
            "seconds": round(sum(epoch.seconds for epoch in entry.result.history), 3),
        }
        for entry in ledger.entries
        if entry.result and entry.result.state == "complete" and entry.result.cost
        if not entry.proposal.control
    ]
    record = {
        "search": load_config(search).model_dump(mode="json"),
        "teacher": ledger.notes["scale"]["teacher"],
        "curves": curves,
    }
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(gzip.compress(json.dumps(record).encode(), mtime=0))
    print(f"{target}: {len(curves)} curves, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
