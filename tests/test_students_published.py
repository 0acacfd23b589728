"""What is known of published weights without fetching them."""

from __future__ import annotations

import json
import socket

import pytest

from autokd.students import Published, published

LITE0 = Published(
    classes=1000,
    channels=3,
    image_size=224,
    fixed_size=False,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    interpolation="bicubic",
    crop_share=0.875,
    source="timm/tf_efficientnet_lite0.in1k",
    licence="apache-2.0",
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("it is known without a network")

    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k"])
def test_timm_s_table_says_what_weights_were_trained_for(name):
    assert published(name) == LITE0


def test_a_tag_tells_weights_of_one_architecture_apart():
    large = published("vit_small_patch16_384.augreg_in21k_ft_in1k")
    small = published("vit_small_patch16_224.dino")
    assert (large.image_size, large.fixed_size, large.classes) == (384, True, 1000)
    assert (small.image_size, small.classes) == (224, 0)


@pytest.mark.parametrize(
    "name", ["resnet", "my_nets:build", "no_such_model", "vit_base_patch32_plus_256"]
)
def test_there_is_nothing_to_say_of_what_timm_has_no_weights_of(name):
    assert published(name) is None


def test_a_file_s_own_configuration_goes_before_timm_s_table(tmp_path):
    file = tmp_path / "model.safetensors"
    assert published("tf_efficientnet_lite0", file).mean == LITE0.mean
    own = {"mean": [0.1, 0.2, 0.3], "num_classes": 1000, "input_size": [3, 96, 96], "label": "x"}
    (tmp_path / "config.json").write_text(json.dumps({"num_classes": 5, "pretrained_cfg": own}))
    found = published("tf_efficientnet_lite0", file)
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), LITE0.std)
    assert (found.classes, found.image_size) == (5, 96)
    assert found.source == str(file)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pretrained_cfg": 3}', "\xff"])
def test_a_config_json_of_something_else_says_nothing(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    assert published("tf_efficientnet_lite0", tmp_path / "model.pt").mean == LITE0.mean
