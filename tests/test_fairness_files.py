"""Prediction files: read, joined by a key and refused in one line; nothing is taken for what it is not."""

from __future__ import annotations

import gzip
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autokd.errors import DataError
from autokd.fairness.model_file import natural_order
from autokd.fairness.prediction_file import read_predictions

REFERENCE = Path(__file__).parent / "fairness_reference" / "data.csv"

STUDENT = """id,label,p_cat,p_dog
a,cat,0.9,0.1
b,dog,0.2,0.8
c,dog,0.6,0.4
"""
TEACHER = """id,p_dog,p_cat
c,0.7,0.3
b,0.9,0.1
a,0.2,0.8
"""
PEOPLE = """id,sex,age,patient
b,F,34,p1
a,M,71,p2
z,F,18,p3
"""


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def student(write):
    return write("student.csv", STUDENT)


def test_student_teacher_and_metadata_are_joined_in_the_students_order(write, student):
    read = read_predictions(
        student,
        teacher=write("teacher.csv", TEACHER),
        metadata=write("people.csv", PEOPLE),
        groups=["sex"],
        cluster="patient",
        bands={"age": [18, 65]},
    )
    assert read.ids == ("a", "b", "c")
    assert read.class_names == ("cat", "dog")
    assert read.labels.tolist() == [0, 1, 1]
    assert read.student.tolist() == [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
    assert read.teacher.tolist() == [[0.8, 0.2], [0.1, 0.9], [0.3, 0.7]]
    assert {name: values.tolist() for name, values in read.groups.items()} == {
        "sex": ["M", "F", None],
        "age": ["65 and over", "18 to under 65", None],
    }
    assert read.cluster.tolist() == ["p2", "p1", "(row c)"]
    assert read.join == {
        "predictions": 3,
        "teacher": 3,
        "metadata": 3,
        "matched": 2,
        "without_metadata": 1,
        "metadata_unused": 1,
    }
    assert sorted(read.hashes) == ["metadata", "predictions", "teacher"]
    assert all(len(value) == 64 for value in read.hashes.values())


def test_without_named_groups_all_of_the_metadata_are_but_key_cluster_and_label(write, student):
    people = write("people.csv", "id,sex,site,patient,label\na,F,1,p,cat\n")
    read = read_predictions(student, metadata=people, cluster="patient")
    assert list(read.groups) == ["sex", "site"]


def test_without_metadata_groups_are_columns_of_the_predictions_or_there_are_none(write):
    path = write("one.csv", "id,label,prediction,site\na,0,1,A\nb,1,1,B\n")
    assert read_predictions(path).groups is None
    assert read_predictions(path, groups=["site"]).groups["site"].tolist() == ["A", "B"]
    assert read_predictions(path).join == {"predictions": 2}


def test_predicted_classes_are_read_where_there_are_no_probabilities(write):
    path = write("labels.csv", "id,label,prediction\n1,10,2\n2,2,10\n3,9,9\n")
    read = read_predictions(path)
    assert read.class_names == ("2", "9", "10")
    assert read.labels.tolist() == [2, 0, 1]
    assert read.student.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "1,cat,0\n2,dog,1\n",
            "is never one of the classes in 'label': predictions are 0, 1, labels cat, dog",
        ),
        (
            "1,True,1\n2,False,0\n",
            "predictions are 0, 1, labels False, True; write both in the same words",
        ),
        (
            "1,cat,Cat\n2,dog,dog\n",
            "prediction says 'Cat' where 'label' says 'cat'; write the class in one way",
        ),
        ("1,1,01\n2,2,2\n", "prediction says '01' where 'label' says '1'"),
        ("1,site a,site_a\n2,b,b\n", "prediction says 'site_a' where 'label' says 'site a'"),
        ("1,caf\u00e9,cafe\u0301\n2,b,b\n", "where 'label' says 'caf\u00e9'"),
    ],
)
def test_labels_and_predictions_without_a_common_vocabulary_are_refused(write, rows, message):
    path = write("student.csv", "id,label,prediction\n" + rows)
    with pytest.raises(DataError, match=message):
        read_predictions(path)


@pytest.mark.parametrize("rows", ["1,a,a\n2,A,A\n", "1,-1,0\n2,0,1\n", "1,c++,c#\n2,b,b\n"])
def test_classes_that_only_look_alike_are_two(write, rows):
    assert len(read_predictions(write("s.csv", "id,label,prediction\n" + rows)).class_names) >= 2


def test_a_class_that_only_one_model_predicts_is_a_class(write):
    student = write("student.csv", "id,label,prediction\n1,a,a\n2,b,b\n")
    teacher = write("teacher.csv", "id,prediction\n1,c\n2,b\n")
    read = read_predictions(student, teacher=teacher)
    assert read.class_names == ("a", "b", "c")
    assert read.teacher.tolist() == [2, 1]


def test_further_seeds_are_columns_in_the_order_of_their_numbers(write):
    header = "id,label,prediction,prediction_10,prediction_2\n"
    path = write("seeds.csv", header + "1,a,a,b,a\n2,b,b,b,a\n")
    assert read_predictions(path).student_seeds.tolist() == [[0, 0], [1, 1]]
    assert read_predictions(path, teacher=path).teacher_seeds.shape == (2, 2)


def test_the_label_may_stand_in_any_file(write):
    student = write("student.csv", "id,prediction\n1,a\n2,b\n")
    teacher = write("teacher.csv", "id,prediction,label\n2,b,b\n1,b,a\n")
    people = write("people.csv", "id,label,sex\n1,a,F\n2,b,M\n")
    assert read_predictions(student, teacher=teacher).labels.tolist() == [0, 1]
    assert read_predictions(student, metadata=people).labels.tolist() == [0, 1]


def test_the_label_of_a_teacher_file_in_another_order_goes_to_its_own_row(write):
    student = write("student.csv", "id,prediction\n1,a\n2,b\n")
    teacher = write("teacher.csv", "id,prediction,label\n2,b,b\n1,b,a\n")
    read = read_predictions(student, teacher=teacher)
    assert dict(zip(read.ids, read.labels.tolist(), strict=True)) == {"1": 0, "2": 1}


def test_a_file_in_two_parts_reads_as_one(write, student):
    lines = STUDENT.splitlines(keepends=True)
    parts = [write("1.csv", "".join(lines[:3])), write("2.csv", lines[0] + lines[3])]
    whole, split = read_predictions(student), read_predictions(parts)
    assert split.ids == whole.ids
    assert split.student.tolist() == whole.student.tolist()
    assert sorted(split.hashes) == ["predictions", "predictions 2"]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".CSV"])
def test_every_kind_of_file_reads_alike(tmp_path, write, student, suffix):
    path = tmp_path / f"other{suffix}"
    if suffix == ".parquet":
        pd.read_csv(student).to_parquet(path)
    else:
        packed = suffix.endswith(".gz")
        path.write_bytes(gzip.compress(STUDENT.encode()) if packed else STUDENT.encode())
    read, plain = read_predictions(path), read_predictions(student)
    assert read.ids == plain.ids
    assert read.student.tolist() == plain.student.tolist()
    assert read.labels.tolist() == plain.labels.tolist()


def test_parquet_with_numbers_joins_a_csv_with_the_same_as_text(tmp_path, write):
    path = tmp_path / "student.parquet"
    table = {"image": [7, 8], "label": [1, 0], "prediction": np.array([1, 1], dtype=np.int8)}
    pd.DataFrame(table).set_index("image").to_parquet(path)
    people = write("people.csv", "image,sex\n8,F\n7,M\n")
    read = read_predictions(path, metadata=people, key="image")
    assert read.groups["sex"].tolist() == ["M", "F"]
    assert read.class_names == ("0", "1")


@pytest.mark.parametrize(
    ("column", "kind"), [("id", "list"), ("site", "dict"), ("label", "bytes"), ("p_a", "list")]
)
def test_cells_that_are_no_single_value_are_refused_in_one_line(tmp_path, column, kind):
    path = tmp_path / "student.parquet"
    cell = {"list": [0.5, 0.5], "dict": {"a": 1}, "bytes": b"x"}[kind]
    table = {"id": [1, 2], "label": ["a", "b"], "p_a": [1.0, 0.0], "p_b": [0.0, 1.0], "site": "A"}
    pd.DataFrame(table | {column: [cell, cell]}).to_parquet(path)
    with pytest.raises(
        DataError, match=f"column '{column}' must hold one text or number a row, and"
    ):
        read_predictions(path, groups=["site"])


@pytest.mark.parametrize("drop", [True, False])
def test_a_key_that_is_the_index_too_is_one_column(tmp_path, drop):
    path = tmp_path / "student.parquet"
    table = pd.DataFrame({"id": ["x", "y"], "label": ["a", "b"], "prediction": ["a", "b"]})
    table.set_index("id", drop=drop).to_parquet(path)
    assert read_predictions(path).ids == ("x", "y")


def test_the_row_numbers_that_pandas_writes_are_left_out(tmp_path, student):
    path = tmp_path / "numbered.csv"
    pd.read_csv(student).to_csv(path)
    assert read_predictions(path).student.tolist() == read_predictions(student).student.tolist()


def test_integers_that_went_through_a_gap_read_as_integers(tmp_path, write, student):
    people = write("people.csv", "id,site,dose\na,1.0,0.5\nb,,1.0\nc,2.0,\n")
    groups = read_predictions(student, metadata=people).groups
    assert groups["site"].tolist() == ["1", None, "2"]
    assert groups["dose"].tolist() == ["0.5", "1.0", None]
    pd.read_csv(people).to_parquet(tmp_path / "people.parquet")
    groups = read_predictions(student, metadata=tmp_path / "people.parquet").groups
    assert groups["site"].tolist() == ["1", None, "2"]


@pytest.mark.parametrize("word", ["NA", "nan", "None", "null"])
def test_words_that_mean_missing_elsewhere_are_text_here(write, student, word):
    people = write("people.csv", f"id,region\na,{word}\nb,  \nc,EU \n")
    read = read_predictions(student, metadata=people)
    assert read.groups["region"].tolist() == [word, None, "EU"]


def test_leading_zeros_of_ids_are_kept(write):
    student = write("student.csv", "id,label,prediction\n007,a,a\n7,b,b\n")
    people = write("people.csv", "id,sex\n7,F\n007,M\n")
    read = read_predictions(student, metadata=people)
    assert read.ids == ("007", "7")
    assert read.groups["sex"].tolist() == ["M", "F"]


def test_a_byte_order_mark_and_blanks_after_commas_do_no_harm(write):
    path = write("student.csv", "\ufeffid, label, prediction\na, x, x\nb, y, x\n")
    assert read_predictions(path).class_names == ("x", "y")


def test_a_tie_of_rounded_probabilities_is_no_contradiction_to_the_prediction(write):
    path = write("student.csv", "id,label,p_a,p_b,prediction\n1,a,0.5,0.5,b\n2,b,0.1,0.9,b\n")
    assert read_predictions(path).student.shape == (2, 2)


def test_a_cut_belongs_to_the_band_above_it(write):
    ids = range(5)
    student = write("s.csv", "id,label,prediction\n" + "".join(f"{i},a,a\n" for i in ids))
    ages = write("p.csv", "id,age\n0,17.9\n1,18\n2,39\n3,40\n4,\n")
    read = read_predictions(student, metadata=ages, bands={"age": [18, 40]})
    under, middle, over = "under 18", "18 to under 40", "40 and over"
    assert read.groups["age"].tolist() == [under, middle, middle, over, None]


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ({"10", "9", "-1"}, ("-1", "9", "10")),
        ({"site10", "site2", "b"}, ("b", "site2", "site10")),
        ({"b", "A", "10"}, ("10", "A", "b")),
    ],
)
def test_classes_are_in_natural_order(names, order):
    assert natural_order(names) == order


@pytest.mark.parametrize(
    "names", [("1", "nan", "2", "10"), ("²", "1²", "a"), ("A", "a", "01", "1")]
)
def test_the_order_of_classes_does_not_depend_on_the_one_they_are_found_in(names):
    found = {natural_order(dict.fromkeys(each)) for each in permutations(names)}
    assert len(found) == 1


@pytest.mark.skipif(not REFERENCE.is_file(), reason="needs the reference data")
def test_the_reference_data_read_as_they_are(tmp_path):
    table = pd.read_csv(REFERENCE, keep_default_na=False)
    for model, letter in (("student", "s"), ("teacher", "t")):
        own = {f"{letter}_p{c}": f"p_{c}" for c in range(3)}
        own |= {f"{letter}_pred{k}": f"prediction_{k}" for k in range(5)}
        columns = ["id", *own] + (["y"] if model == "student" else [])
        part = table[columns].rename(columns=own | {"y": "label"})
        part.sample(frac=1, random_state=1).to_csv(tmp_path / f"{model}.csv", index=False)
    table[["id", "sex", "site"]].to_csv(tmp_path / "people.csv", index=False)
    read = read_predictions(
        tmp_path / "student.csv",
        teacher=tmp_path / "teacher.csv",
        metadata=tmp_path / "people.csv",
    )
    same = table.set_index("id").loc[list(read.ids)]
    np.testing.assert_array_equal(read.labels, same["y"])
    np.testing.assert_allclose(read.student, same[[f"s_p{c}" for c in range(3)]])
    np.testing.assert_allclose(read.teacher, same[[f"t_p{c}" for c in range(3)]])
    np.testing.assert_array_equal(read.teacher_seeds.T, same[[f"t_pred{k}" for k in range(5)]])
    assert [site or "" for site in read.groups["site"]] == same["site"].tolist()
    assert sum(site is None for site in read.groups["site"]) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"student\.csv: is empty"),
        ("id,label,prediction\n", r"student\.csv: has no rows"),
        ("id;label;prediction\n1;a;a\n", "has its columns separated by ';'; save it with commas"),
        ("id;label;prediction\n1;a,b;a\n", "has its columns separated by ';'; save it with commas"),
        ("sep=,\nid,label,prediction\n1,a,a\n", "begins with Excel's line 'sep=,'; take it out"),
        ("id\tlabel\tprediction\n1\ta\ta\n", r"columns separated by '\\t'; save it with commas"),
        (
            "id,label,p_a,p_b\nx,a,.5,.7\n",
            r"student\.csv: the probabilities of 'x' sum to 1\.2, not",
        ),
        (
            "id,label,p_a,p_b\nx,a,2,-1\n",
            r"student\.csv: 'x' has the negative probability -1; give",
        ),
        ("name,label,prediction\n1,a,a\n", r"has no column 'id' \(the key.*it has name, label"),
        ("id,label,prediction\n1,a,a\n1,b,b\n", r"'id' must name a row once; 1 rows repeat.*'1'"),
        ("id,label,prediction\n,a,a\n1,b,b\n", "column 'id' is empty in 1 rows"),
        ("id,prediction\n1,a\n", r"no column 'label' with the true class in .*student\.csv"),
        ("id,label,prediction\n1,,a\n2,b,b\n", "'label' is missing for 1 rows, such as '1'"),
        ("id,label,guess\n1,a,a\n", "has neither a column p_<class> for each class nor 'predict"),
        ("id,label,prediction_0\n1,a,a\n", "nor 'prediction'; it has id, label, prediction_0"),
        ("id,label,prediction\n1,a,\n", "column 'prediction' is empty in 1 rows, such as '1'"),
        ("id,label,p_a\n1,a,1\n", "has 'p_a' alone; give one such column for each class"),
        ("id,label,p_a,prob_b\n1,a,1,0\n", "has columns p_… and prob_…; keep one"),
        ("id,label,p_a,p_b\n1,c,1,0\n", "label 'c' of '1' is none of the classes.*: a, b"),
        ("id,label,p_a,p_b\n1,a,x,0\n", "column 'p_a' must hold a number.*got 'x' for '1'"),
        ("id,label,p_a,p_b\n1,a,1,\n", "column 'p_b' must hold a number.*got nothing for '1'"),
        ("id,label,p_a,p_b\n1,a,inf,0\n", "column 'p_a' must hold a number.*got 'inf'"),
        (
            "id,label,p_a,p_b,prediction\n1,a,1,0,b\n",
            "prediction is not the most probable class in 1 rows, such as '1'; keep either",
        ),
        ("id,label,p_a,p_b,prediction\n1,a,1,0,c\n", "prediction 'c' of '1' is none of"),
        ("id,label,p_a,p_b,prediction_0\n1,a,1,0,c\n", "prediction_… 'c' of '1' is none"),
        ("id,label,label,prediction\n1,a,a,a\n", "has two columns 'label'; rename one"),
        ("id,label,,prediction\n1,a,,a\n", "a column has no name; it has id, label, prediction"),
        ("id,label,prediction\n1,a,a,9\n", "is not a CSV table in UTF-8: .*Expected 3 fields"),
    ],
)
def test_a_bad_prediction_file_is_refused_in_one_line(write, text, message):
    path = write("student.csv", text)
    with pytest.raises(DataError, match=message) as caught:
        read_predictions(path)
    assert "\n" not in str(caught.value)
    assert "student.csv" in str(caught.value)


def test_files_that_are_not_there_or_of_another_kind_are_named(tmp_path, write):
    with pytest.raises(DataError, match=r"none\.csv: can't be read: No such file"):
        read_predictions(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"model\.json: must end in \.csv, \.csv\.gz, \.parquet"):
        read_predictions(write("model.json", "{}"))
    with pytest.raises(DataError, match=r"bad\.parquet: is not a Parquet table"):
        read_predictions(write("bad.parquet", "id,label"))
    with pytest.raises(DataError, match=r"bad\.csv\.gz: can't be decompressed"):
        read_predictions(write("bad.csv.gz", "id,label"))
    (tmp_path / "latin.csv").write_bytes("id,label,prediction\n1,ä,ä\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.csv: is not a CSV table in UTF-8"):
        read_predictions(tmp_path / "latin.csv")


def test_student_and_teacher_must_cover_the_same_rows(write, student):
    teacher = write("teacher.csv", TEACHER.replace("a,", "d,") + "e,0.5,0.5\n")
    message = (
        r"1 rows are in .*student\.csv alone \(a\); 2 rows are in .*teacher\.csv alone \(d, e\)"
    )
    with pytest.raises(DataError, match=message):
        read_predictions(student, teacher=teacher)


def test_student_and_teacher_must_know_the_same_classes(write, student):
    teacher = write("teacher.csv", TEACHER.replace("p_dog", "p_fox"))
    with pytest.raises(DataError, match=r"teacher\.csv: must have probabilities of the same class"):
        read_predictions(student, teacher=teacher)


def test_labels_that_differ_between_files_are_named(write, student):
    teacher = write("teacher.csv", "id,label,prediction\na,cat,cat\nb,cat,cat\nc,dog,cat\n")
    with pytest.raises(DataError, match=r"'label' differs .* 1 rows, such as 'b' \(cat, there dog"):
        read_predictions(student, teacher=teacher)


def test_parts_of_a_file_must_have_the_same_columns(write, student):
    other = write("other.csv", "id,label,prediction\nd,cat,cat\n")
    with pytest.raises(DataError, match=r"other\.csv: must have the same columns as .*'p_cat' is"):
        read_predictions([student, other])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": ["sexx"]}, r"no column 'sexx' \(a group\).*Did you mean 'sex'\?"),
        ({"cluster": "who"}, r"no column 'who' \(the cluster\); it has id, sex"),
        ({"bands": {"height": [1]}}, r"no column 'height' \(a group\)"),
        ({"bands": {"age": [65, 18]}}, "age.: bands: the edges must rise, got 65, 18"),
        ({"bands": {"age": []}}, "bands: the edges must rise, got $"),
        ({"bands": {"age": [float("nan"), 18]}}, "bands: the edges must rise, got nan, 18"),
        ({"bands": {"sex": [1]}}, "'sex': bands need numbers, got '[FM]'"),
        ({"key": "image"}, r"student\.csv: has no column 'image'"),
    ],
)
def test_a_column_that_is_not_there_or_no_number_is_named(write, student, options, message):
    people = write("people.csv", PEOPLE)
    with pytest.raises(DataError, match=message):
        read_predictions(student, metadata=people, **options)


def test_metadata_that_knows_none_of_the_rows_are_refused(write, student):
    people = write("people.csv", "id,sex\nx.png,F\n")
    with pytest.raises(DataError, match=r"no row's 'id' is in .*it has 'x\.png' where 'a' is due"):
        read_predictions(student, metadata=people)


def test_a_row_of_the_metadata_twice_is_refused(write, student):
    people = write("people.csv", "id,sex\na,F\na,M\n")
    with pytest.raises(DataError, match=r"people\.csv: column 'id' must name a row once"):
        read_predictions(student, metadata=people)


def test_many_numbers_must_be_banded_and_names_are_no_groups(write):
    rows = range(30)
    student = write("s.csv", "id,label,prediction\n" + "".join(f"{i},a,a\n" for i in rows))
    ages = write("ages.csv", "id,age\n" + "".join(f"{i},{i + 20}\n" for i in rows))
    files = write("files.csv", "id,file\n" + "".join(f"{i},{i}.png\n" for i in rows))
    with pytest.raises(DataError, match=r"'age' has 30 different numbers.*--bands age=18,40,65"):
        read_predictions(student, metadata=ages)
    with pytest.raises(DataError, match=r"'file' has 30 values in 30 rows and makes no groups"):
        read_predictions(student, metadata=files)
    assert len(read_predictions(student, metadata=ages, cluster="age").cluster) == 30
