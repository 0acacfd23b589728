"""Sources: each gives pixels, labels and class names, or one line that says what is missing where."""

from __future__ import annotations

import gzip
import importlib.util
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from autokd.config import DataConfig
from autokd.data import load_data
from autokd.data.torchvision_sets import IDX_FILES, QMNIST_FILES
from autokd.errors import ConfigError, DataError
from autokd.records import content_hash

torch.set_num_threads(1)

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def write_idx_root(root: Path, *, packed: bool = True, train: int = 60, test: int = 20) -> None:
    """What Debian's dataset-fashion-mnist lays into a folder, tiny."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, count in zip(IDX_FILES, (train, train, test, test), strict=True):
        if "images" in name:
            values = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        else:
            values = (np.arange(count) % 10).astype(np.uint8)
        header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
        content = header + values.tobytes()
        path = root / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)


def write_qmnist(root: Path, *, count: int = 120, columns: int = 8) -> np.ndarray:
    """QMNIST's test part as it is distributed, tiny; returns its labels: class, series, writer, …"""
    root.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = np.zeros((count, columns), dtype=">i4")
    rows = np.arange(count)
    known = (rows % 10, 4 * (rows >= count // 2), rows // 6 + 300)
    for column, values in enumerate(known[:columns]):
        labels[:, column] = values
    for name, values, kind in zip(QMNIST_FILES, (pixels, labels), (8, 12), strict=True):
        header = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
        (root / f"{name}.gz").write_bytes(gzip.compress(header + values.tobytes()))
    return labels


def write_npz(path: Path, **arrays) -> Path:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    given = {"images": images, "labels": np.arange(40) % 2} | arrays
    np.savez(path, **{key: value for key, value in given.items() if value is not None})
    return path


def load(cache, **config):
    return load_data(DataConfig(**config), seed=0, cache=cache)


def test_digits_have_the_whole_range_of_grey_and_are_never_mirrored(tmp_path):
    data = load(tmp_path, source="digits")
    assert (data.info.channels, data.info.image_size, len(data.info.class_names)) == (1, 8, 10)
    assert data.info.train_count + data.info.val_count + data.info.test_count == 1797
    assert int(data.train.images.pixels.max()) == 255
    assert data.flip is False


def test_qmnist_brings_writers_who_are_never_in_two_splits(tmp_path, no_network):
    labels = write_qmnist(tmp_path / "root" / "somewhere")
    options = {"source": "qmnist", "root": tmp_path / "root"}
    metadata = {"groups": ["hsf"], "cluster": "writer"}
    data = load(tmp_path / "cache", **options, metadata=metadata)
    splits = (data.train, data.val, data.test)
    assert sum(len(split) for split in splits) == 120
    writers = [set(split.metadata["writer"]) for split in splits]
    assert sum(map(len, writers)) == len(set.union(*writers)) == 20
    for split in splits:
        rows = split.rows.numpy()
        assert split.labels.tolist() == labels[rows, 0].tolist()
        assert split.metadata["hsf"].tolist() == labels[rows, 1].astype(str).tolist()
    assert (data.flip, data.info.channels, data.info.image_size) == (False, 1, 28)


def test_qmnist_labels_without_writers_are_refused(tmp_path, no_network):
    write_qmnist(tmp_path, columns=2)
    with pytest.raises(DataError, match=r"labels of shape \(120, 2\); fetch the files again"):
        load(tmp_path / "cache", source="qmnist", root=tmp_path)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", [".", "below/it", "FashionMNIST/raw"])
def test_idx_files_are_found_packed_or_plain_in_the_root_or_below(tmp_path, place, packed):
    root = tmp_path / "root"
    write_idx_root(root / place, packed=packed)
    data = load(tmp_path / "cache", source="fashion_mnist", root=root)
    assert (data.info.train_count, data.info.val_count, data.info.test_count) == (50, 10, 20)
    assert data.info.class_names[9] == "Ankle boot"
    assert data.test.labels.tolist() == [i % 10 for i in range(20)]
    assert data.test.rows.tolist() == list(range(60, 80))


def test_a_read_only_root_is_only_read_and_decompressed_once(tmp_path):
    root = tmp_path / "root"
    write_idx_root(root)
    before = sorted(root.iterdir())
    first = load(tmp_path / "cache", source="mnist", root=root)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*ubyte")}
    second = load(tmp_path / "cache", source="mnist", root=root)
    assert sorted(root.iterdir()) == before
    assert len(times) == 4
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert first.info.hash == second.info.hash


def test_mnist_files_are_not_taken_for_fashion_mnist(tmp_path, no_network):
    write_idx_root(tmp_path / "MNIST" / "raw")
    with pytest.raises(DataError, match=r"fashion_mnist: no train-images-idx3-ubyte"):
        load(tmp_path / "cache", source="fashion_mnist", root=tmp_path)


def test_a_broken_gz_file_is_named(tmp_path):
    write_idx_root(tmp_path)
    path = tmp_path / f"{IDX_FILES[0]}.gz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: can't be decompressed"):
        load(tmp_path / "cache", source="fashion_mnist", root=tmp_path)
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_files_that_are_no_idx_are_named(tmp_path):
    write_idx_root(tmp_path, packed=False)
    (tmp_path / IDX_FILES[0]).write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="not what torchvision's MNIST reads"):
        load(tmp_path / "cache", source="mnist", root=tmp_path)


def idx(values: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({1: np.arange(20) % 10}, r"^mnist: train has 60 images of \(1, 28, 28\) and 20 labels"),
        ({2: np.zeros((20, 32, 32))}, r"test has 20 images of \(1, 32, 32\) and 20 labels, train"),
        ({1: np.full(60, 200)}, r"^mnist: label 200 is none of 10 classes; fetch the files again"),
        ({0: b"short"}, r"root: not what torchvision's MNIST reads"),
        ({0: idx(np.zeros((60, 28, 28)))[:1000]}, r"root: not what torchvision's MNIST reads"),
        ({3: None}, r"^mnist: no t10k-labels-idx1-ubyte\[\.gz\] in .*root, and a download failed"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(tmp_path, no_network, changed, message):
    root = tmp_path / "root"
    write_idx_root(root, packed=False)
    for place, content in changed.items():
        path = root / IDX_FILES[place]
        path.unlink()
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else idx(content))
    with pytest.raises(DataError, match=message):
        load(tmp_path / "cache", source="mnist", root=root)


def test_a_file_in_place_of_their_folder_is_named(tmp_path):
    write_idx_root(tmp_path)
    root = tmp_path / f"{IDX_FILES[0]}.gz"
    with pytest.raises(DataError, match=r"ubyte\.gz: is a file; data\.root must be the folder"):
        load(tmp_path / "cache", source="mnist", root=root)


@pytest.fixture
def no_network(monkeypatch):
    """Every connection is refused at once, as on a machine without a network."""
    import socket

    def refuse(*args, **kwargs):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("fashion_mnist", r"no train-images-idx3-ubyte\[\.gz\].*apt install dataset-fashion-mnist"),
        ("mnist", r"no train-images-idx3-ubyte\[\.gz\] and its three companions in .*data\.root"),
        ("qmnist", r"no qmnist-test-images-idx3-ubyte\[\.gz\] and its labels in .*data\.root"),
        ("cifar10", r"no cifar-10-python\.tar\.gz or what is in it in .*data\.root"),
        ("cifar100", r"no cifar-100-python\.tar\.gz or what is in it in .*data\.root"),
    ],
)
def test_without_files_and_network_one_line_says_what_to_do(tmp_path, no_network, source, message):
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / "cache", source=source, root=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_debians_fashion_mnist_is_read_as_installed(tmp_path):
    data = load(tmp_path, source="fashion_mnist", root=DEBIAN, limit=1000)
    assert (data.info.train_count, data.info.val_count, data.info.test_count) == (850, 150, 10000)


def test_npz_texts_as_labels_and_other_arrays_as_metadata(tmp_path):
    path = write_npz(
        tmp_path / "set.npz",
        labels=np.array(["dog", "cat"] * 20),
        writer=np.arange(40) // 4,
    )
    data = load(tmp_path, source="npz", root=path, metadata={"cluster": "writer"})
    assert data.info.class_names == ("cat", "dog")
    writers = [set(split.metadata["writer"]) for split in (data.train, data.val, data.test)]
    assert sum(map(len, writers)) == len(set.union(*writers)) == 10
    rows = data.train.rows.tolist()
    assert data.train.metadata["writer"].tolist() == [str(row // 4) for row in rows]


def test_the_hash_of_people_is_that_of_their_texts_and_holds_what_is_missing(tmp_path):
    path = write_npz(tmp_path / "set.npz", labels=np.array([1, 0] * 20))
    table = tmp_path / "people.parquet"
    hashes = set()
    for sites in ([1, 2] * 20, [1.0, 2.0] * 20, ["1", "2"] * 20, [1, None] * 20):
        pd.DataFrame({"index": range(40), "site": sites}).to_parquet(table)
        data = load(tmp_path, source="npz", root=path, metadata={"path": table, "groups": ["site"]})
        hashes.add(data.people_hash())
    assert len(hashes) == 2
    by_row = ["1" if row % 2 == 0 else "2" for row in range(40)]
    splits = (data.train, data.val, data.test)
    assert content_hash([[[by_row[r]] for r in s.rows.tolist()] for s in splits]) in hashes


def test_npz_splits_and_colour_are_used_as_they_are(tmp_path):
    images = np.zeros((40, 8, 8, 3), dtype=np.uint8)
    images[..., 2] = 200
    split = np.repeat(["train", "validation", "test"], [20, 10, 10])
    path = write_npz(tmp_path / "set.npz", images=images, split=split)
    data = load(tmp_path, source="npz", root=path)
    assert (data.info.train_count, data.info.val_count, data.info.test_count) == (20, 10, 10)
    assert data.train.images[0][:, 0, 0].tolist() == [0, 0, 200]
    assert data.mean == pytest.approx((0, 0, 200 / 255))
    assert data.std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": None}, "needs the arrays images and labels, has labels"),
        ({"images": np.zeros((40, 8, 8))}, r"images must be uint8 .* got float64 \(40, 8, 8\)"),
        ({"images": np.zeros((40, 8, 8, 2), np.uint8)}, r"or \(N, H, W, 3\), got uint8"),
        ({"images": np.zeros((0, 8, 8), np.uint8), "labels": np.zeros(0, int)}, "holds no image"),
        ({"labels": np.full(40, 0.5)}, "labels must be whole numbers or texts, not such as 0.5"),
        ({"labels": np.zeros(39, int)}, "labels must be 40 whole numbers or texts"),
        ({"split": np.array(["train"] * 39 + ["spare"])}, "split must be 40 texts of train, val"),
        ({"split": np.array(["test"] * 40)}, "with train among them"),
        ({"writer": np.arange(39)}, "array writer is neither images, labels nor split"),
        (
            {"writer": np.array([{}] * 40)},
            "array writer holds Python objects, which could run code",
        ),
        ({"images": np.zeros((40, 8, 9), np.uint8)}, "not square; set data.image_size"),
    ],
)
def test_an_npz_file_of_the_wrong_shape_is_refused(tmp_path, arrays, message):
    path = write_npz(tmp_path / "set.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load(tmp_path, source="npz", root=path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "can't be read: No such file"), (b"PK\3\4 but cut short", "or it is damaged")],
)
def test_a_missing_or_damaged_npz_file_is_named(tmp_path, content, message):
    path = tmp_path / "set.npz"
    if content:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"set\.npz: .*{message}"):
        load(tmp_path, source="npz", root=path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"source": "digit"}, r"known sources: digits, mnist.*Did you mean 'digits'\?"),
        ({"source": "npz"}, r"data\.root is missing: source 'npz'"),
        ({"source": "folder"}, r"data\.root is missing: source 'folder'"),
        ({"source": "hf"}, r"data\.name is missing: source 'hf'"),
    ],
)
def test_an_incomplete_data_section_is_a_config_error(tmp_path, config, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, **config)


def test_hf_without_its_package_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'autokd\[huggingface\]'"):
        load(tmp_path, source="hf", name="cifar10")


@pytest.mark.skipif("AUTOKD_TEST_DATA" not in os.environ, reason="set AUTOKD_TEST_DATA")
def test_mnist_writers_are_never_in_two_splits(tmp_path):
    path = Path(os.environ["AUTOKD_TEST_DATA"]) / "mnist_writers.npz"
    data = load(tmp_path, source="npz", root=path, metadata={"cluster": "writer"})
    writers = [set(split.metadata["writer"]) for split in (data.train, data.val, data.test)]
    assert sum(map(len, writers)) == len(set.union(*writers))
    for split in (data.val, data.test):
        assert len(split) == pytest.approx(1500, rel=0.1)
        shares = torch.bincount(split.labels) / len(split)
        assert shares.min() > 0.07


@pytest.mark.slow
def test_importing_sources_loads_neither_timm_nor_sklearn():
    import subprocess

    code = "import sys, autokd.data; print({'timm', 'sklearn', 'datasets'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
