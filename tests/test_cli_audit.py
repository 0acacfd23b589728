"""`autokd audit` as a pipeline meets it: one exit status a verdict, three files, one line for bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from audit_files import write_even, write_reference
from sklearn.datasets import load_digits
from test_cli import autokd, place, search_file

import autokd as package
from autokd.config import parse_config
from autokd.tracking.read import read_study, read_text
from autokd.tracking.store import open_store

__all__ = ["place"]  # a fixture

FILES = ("--predictions", "student.csv", "--teacher", "teacher.csv", "--metadata", "people.csv")
SITES = (*FILES, "--groups", "site")


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_reference(tmp_path)
    return tmp_path


@pytest.fixture
def even(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_even(tmp_path)
    return tmp_path


def test_a_harmed_group_is_named_and_the_status_is_1(reference: Path) -> None:
    done = autokd("audit", *FILES, "--out", "report")
    assert done.status == 1
    assert "site C loses 19.2 pp (25 of 120 images regressed, 2 fixed" in done.out
    assert "Report: report/audit.html" in done.out
    assert {path.name for path in (reference / "report").iterdir()} == {
        "audit.html",
        "audit.json",
        "audit.md",
    }
    record = json.loads((reference / "report" / "audit.json").read_text())
    assert record["by"]["sexxsite"]["student"]["groups"]["F|C"]["accuracy"] == 0.5
    assert record["across_seeds"]["pie"]["count"] == 52
    assert record["data"]["join"]["matched"] == 600


def test_groups_that_lose_alike_pass_with_status_0(even: Path) -> None:
    done = autokd("audit", *SITES)
    assert done.status == 0, done.out
    assert "Pass" in done.out
    assert (even / "audit" / "audit.html").exists()


def test_groups_that_are_too_small_to_tell_are_status_3(reference: Path) -> None:
    write_even(reference, rows=120)
    for options in ((), ("--require", "site=B")):
        done = autokd("audit", *SITES, *options)
        assert done.status == 3, done.out
        assert "undecided" in done.out


def test_a_required_group_that_is_not_there_is_a_fail(even: Path) -> None:
    done = autokd("audit", *SITES, "--require", "site=Z")
    assert done.status == 1
    assert "site Z has to be decided and is absent from the data" in done.out


def test_json_on_standard_output_is_the_record_and_nothing_else(even: Path) -> None:
    done = autokd("audit", *SITES, "--json")
    assert json.loads(done.out) == json.loads((even / "audit" / "audit.json").read_text())


def test_a_number_is_a_group_once_it_is_cut(even: Path) -> None:
    write_even(even, ages=True)
    refused = autokd("audit", *FILES)
    assert refused.status == 2
    assert "--bands age=18,40,65" in refused.err
    done = autokd("audit", *FILES, "--bands", "age=40,65")
    assert done.status in (0, 1)
    groups = json.loads((even / "audit" / "audit.json").read_text())["by"]["age"]["judged"]
    assert len(groups) == 3


def test_without_metadata_the_classes_are_the_groups(even: Path) -> None:
    done = autokd("audit", *FILES[:4])
    assert done.status == 0, done.out
    assert set(json.loads((even / "audit" / "audit.json").read_text())["by"]) == {"class"}


def test_a_teacher_alone_is_audited_as_one(even: Path) -> None:
    done = autokd("audit", "--predictions", "teacher.csv", "--metadata", "people.csv")
    assert done.status == 0, done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ("--predictions", "none.csv"), "none.csv: can't be read: No such file", id="no file"
        ),
        pytest.param((*FILES, "--groups", "sight"), "has no column 'sight'", id="no such group"),
        pytest.param(
            (*FILES, "--bands", "age:18"), "--bands 'age:18': not a column and", id="cuts"
        ),
        pytest.param((*SITES, "--key", "name"), "has no column 'name'", id="no such key"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    reference: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = autokd("audit", *arguments)
    assert done.status == 2, done.out
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (reference / "audit").exists()


REASON = "site B has an older camera; it is replaced before release"


@pytest.fixture
def unfair(place: Path) -> Path:
    """Digits of which site B has labels at random: no teacher is as good there as at site A."""
    digits = load_digits()
    site = np.where(np.arange(len(digits.target)) % 2, "B", "A")
    labels = digits.target.copy()
    at_b = site == "B"
    labels[at_b] = np.random.default_rng(0).permutation(labels[at_b])
    np.savez(place / "sites.npz", images=digits.images.astype(np.uint8), labels=labels, site=site)
    return place


def unfair_search(unfair: Path, **audit: object) -> str:
    data = {"source": "npz", "root": "sites.npz", "metadata": {"groups": ["site"]}}
    return search_file(unfair, data=data, audit=audit, teacher__train__epochs=4)


@pytest.mark.slow
def test_a_teacher_that_fails_stops_the_search_before_anything_is_distilled(unfair: Path) -> None:
    done = autokd("search", unfair_search(unfair))
    assert done.status == 1
    last = done.err.strip().splitlines()[-1]
    assert last.startswith(
        "autokd: the teacher fails its audit: The teacher's accuracy differs by "
    )
    assert "between groups of site" in last
    assert "audit.accept_teacher_bias" in last
    report = Path(last.split("Report: ")[1].split(" ")[0].rstrip("."))
    assert json.loads((report.parent / "audit.json").read_text())["status"] == "fail"
    (study,) = (unfair / ".autokd" / "studies").iterdir()
    assert [path.name for path in study.iterdir()] == ["teacher_audit"]


@pytest.mark.slow
def test_an_accepted_bias_lets_the_search_run_and_is_in_every_report(unfair: Path) -> None:
    file = unfair_search(unfair, accept_teacher_bias=REASON)
    done = autokd("search", file)
    assert done.status == 0, done.err
    assert f"The teacher's bias was accepted: {REASON}" in " ".join(done.out.split())
    store = open_store(None, unfair, create=False)
    study = read_study(store, None)
    pages = [(study.run_id, "report/report.md"), (study.run_id, "teacher_audit/audit.md")]
    for row in study.trials.to_dict("records"):
        if row["state"] == "complete":
            pages.append((row["run_id"], "audit/audit.html"))
        if isinstance(row["test_audit"], str):
            pages += [(row["run_id"], f"test_audit/audit.{kind}") for kind in ("md", "json")]
    assert len(pages) > 5
    for run_id, path in pages:
        assert REASON in " ".join(read_text(store, run_id, path).replace("\\", "").split()), path
    front = package.front()
    assert front["audit"].notna().all()
    assert front["test_audit"].notna().all()


@pytest.mark.slow
def test_another_table_of_groups_is_another_search(unfair: Path) -> None:
    file = unfair_search(unfair, accept_teacher_bias=REASON)
    first = autokd("search", file)
    arrays = dict(np.load(unfair / "sites.npz"))
    np.savez(unfair / "sites.npz", **arrays | {"site": np.roll(arrays["site"], 1)})
    second = autokd("search", file)
    assert study_of(first.out) != study_of(second.out)


def study_of(out: str) -> str:
    return out.split("Study: ")[1].split()[0]


@pytest.mark.parametrize(
    ("audit", "message"),
    [
        ({"accept_teacher_bias": "ok"}, "audit.accept_teacher_bias: "),
        ({"margin": 5}, "audit.margin: input should be less than or equal to 1, got 5"),
        ({"required": ["region=B"]}, "'region=B' names no attribute of the data; they are site"),
        ({"required": ["sit"]}, "Did you mean 'site'?"),
    ],
)
def test_a_mistake_in_the_audit_section_is_one_line(
    unfair: Path, audit: dict[str, object], message: str
) -> None:
    done = autokd("check", unfair_search(unfair, **audit))
    assert done.status == 2, done.out
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


GUIDE = Path(__file__).parent.parent / "docs" / "fairness.md"


def guide_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def test_the_python_of_the_guide_runs_and_names_the_harmed_site(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for block in guide_blocks("python"):
        exec(compile(block, "docs/fairness.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("fail")
    assert "site B loses" in printed


def test_the_settings_of_the_guide_are_those_of_a_search_file() -> None:
    whole = yaml.safe_load((GUIDE.parent.parent / "search_spaces/quickstart.yaml").read_text())
    blocks = guide_blocks("yaml")
    assert len(blocks) == 2
    for block in blocks:
        parse_config(whole | yaml.safe_load(block), source="docs/fairness.md")
