"""MACs from shapes: against formulas written by hand, published exact figures and PyTorch's own counter."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autokd.cost import Count, check_counts, count_on_meta, count_with_fvcore
from autokd.errors import CostError, DataError


class Apply(nn.Module):
    """A function of the image, with parameters."""

    def __init__(self, function, **shapes):
        super().__init__()
        self.function = function
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))

    def forward(self, image):
        return self.function(self, image)


def sequence(image):  # (1, 8, 4, 4) -> (1, 16, 8)
    return image.flatten(2).transpose(1, 2)


def attend(model, image):
    heads = sequence(image).unflatten(2, (2, 4)).transpose(1, 2)  # (1, 2, 16, 4)
    return F.scaled_dot_product_attention(heads, heads, heads)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, image):
        tokens = sequence(image)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


class Recurrent(nn.Module):
    def __init__(self, cell, **arguments):
        super().__init__()
        self.cell = cell(8, 5, batch_first=True, **arguments)

    def forward(self, image):
        return self.cell(sequence(image))[0]


def pooled(layer):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)


def encoder_layer():
    model = Apply(lambda m, x: m.layer(sequence(x)))
    model.layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=12, batch_first=True)
    return model


# A builder, and the MACs of an image of 8 x 4 x 4 (16 pixels), by hand.
BY_HAND = {
    "convolution": (lambda: nn.Conv2d(8, 6, 3, padding=1), 16 * 6 * 8 * 9),
    "strided convolution": (lambda: nn.Conv2d(8, 6, 3, stride=2, padding=1), 4 * 6 * 8 * 9),
    "grouped convolution": (lambda: nn.Conv2d(8, 6, 3, padding=1, groups=2), 16 * 6 * 4 * 9),
    "depthwise convolution": (lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8), 16 * 8 * 9),
    "transposed convolution": (lambda: nn.ConvTranspose2d(8, 6, 2, stride=2), 16 * 8 * 6 * 4),
    "padding same": (lambda: nn.Conv2d(8, 8, 3, padding="same", groups=8), 16 * 8 * 9),
    "linear": (lambda: pooled(nn.Linear(8, 10)), 80),
    "linear on tokens": (lambda: Apply(lambda m, x: sequence(x) @ m.w, w=(8, 3)), 16 * 8 * 3),
    "matmul": (lambda: Apply(lambda m, x: x @ x.transpose(-1, -2)), 8 * 4 * 4 * 4),
    "matmul, left broadcast": (lambda: Apply(lambda m, x: m.w @ x, w=(16, 4)), 8 * 16 * 4 * 4),
    "matrix by vector": (lambda: Apply(lambda m, x: x @ m.w, w=(4,)), 8 * 4 * 4),
    "mv": (lambda: Apply(lambda m, x: m.w.mv(x.flatten()), w=(3, 128)), 3 * 128),
    "baddbmm": (lambda: Apply(lambda m, x: torch.baddbmm(x[0], x[0], x[0])), 8 * 4 * 4 * 4),
    "einsum": (
        lambda: Apply(lambda m, x: torch.einsum("bchw,cd->bdhw", x, m.w), w=(8, 3)),
        16 * 8 * 3,
    ),
    "fused attention": (lambda: Apply(attend), 2 * 16 * 16 * 4 * 2),
    "multi-head attention": (Attention, 16 * 8 * 8 * 4 + 2 * 16 * 16 * 4 * 2),
    "encoder layer": (
        encoder_layer,
        16 * 8 * 8 * 4 + 2 * 16 * 16 * 4 * 2 + 2 * 16 * 8 * 12,
    ),
    "LSTM": (lambda: Recurrent(nn.LSTM), 16 * 4 * 5 * (8 + 5)),
    "two-way LSTM of two layers": (
        lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True),
        2 * 16 * 4 * 5 * (8 + 5) + 2 * 16 * 4 * 5 * (10 + 5),
    ),
    "GRU": (lambda: Recurrent(nn.GRU), 16 * 3 * 5 * (8 + 5)),
    "batch norm": (lambda: nn.BatchNorm2d(8), 0),
    "layer norm": (lambda: nn.LayerNorm([8, 4, 4]), 0),
    "group norm": (lambda: nn.GroupNorm(2, 8), 0),
    "pool, resize and activation": (
        lambda: nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2), nn.GELU()),
        0,
    ),
    "scale and shift": (lambda: Apply(lambda m, x: x * m.w + m.w, w=(8, 1, 1)), 0),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_the_exact_count_equals_the_formula_written_by_hand(name):
    build, macs = BY_HAND[name]
    assert count_on_meta(build, (8, 4, 4)).macs == macs


@pytest.mark.parametrize("name", BY_HAND)
def test_fvcore_with_our_handles_equals_the_formula_written_by_hand(name):
    build, macs = BY_HAND[name]
    assert count_with_fvcore(build(), (8, 4, 4)).macs == macs


@pytest.mark.parametrize(
    ("model", "macs", "params"),
    [
        ("resnet18", 1_814_073_344, 11_689_512),
        ("resnet50", 4_089_184_256, 25_557_032),
        ("mobilenetv2_100", 300_774_272, 3_504_872),
    ],
)
def test_the_exact_count_equals_published_exact_figures(model, macs, params):
    count = count_on_meta(lambda: timm.create_model(model, num_classes=1000), (3, 224, 224))
    assert (count.macs, count.params) == (macs, params)


@pytest.mark.parametrize("model", ["resnet10t", "mobilenetv3_small_050", "convnext_atto"])
def test_the_count_equals_pytorchs_counter_on_the_meta_device(model):
    with torch.device("meta"):
        reference = timm.create_model(model, num_classes=10).eval().requires_grad_(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        reference(torch.empty(1, 3, 64, 64, device="meta"))
    count = count_on_meta(lambda: timm.create_model(model, num_classes=10), (3, 64, 64))
    assert 2 * count.macs == counter.get_total_flops()


def test_a_repeated_count_gives_the_same_as_the_first():
    def build():
        return timm.create_model("mobilenetv3_small_050", num_classes=7)

    assert count_on_meta(build, (3, 32, 48)) == count_on_meta(build, (3, 32, 48))


def test_twice_the_image_area_costs_twice_the_convolution_macs():
    def build():
        return timm.create_model("resnet10t", num_classes=10)

    small, large = (count_on_meta(build, (3, 64, width)).by_operator for width in (64, 128))
    assert large["convolution"] == 2 * small["convolution"]
    assert large["addmm"] == small["addmm"]


def test_counting_allocates_no_weights():
    def build():  # 40 TB of weights
        return nn.Sequential(nn.Flatten(), nn.Linear(10**4, 10**6), nn.Linear(10**6, 10**7))

    assert count_on_meta(build, (1, 100, 100)).params == pytest.approx(1e13, rel=0.01)


def test_operators_are_listed_with_their_macs_and_add_up():
    count = count_on_meta(BY_HAND["multi-head attention"][0], (8, 4, 4))
    assert sum(count.by_operator.values()) == count.macs
    products = 2 * 16 * 16 * 4 * 2
    if torch.__version__ >= "2.15":
        assert count.by_operator["bmm"] == products
    else:  # projections are in it too
        assert products < count.by_operator["bmm"] < count.macs


@torch.library.custom_op("autokd_tests::mix", mutates_args=())
def mix(image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return image.movedim(1, -1) @ weight


@mix.register_fake
def _(image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return image.movedim(1, -1).new_empty(1, *image.shape[2:], weight.shape[1])


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda m, x: mix(x, m.w), "autokd_tests.mix"),
        (lambda m, x: torch.fft.rfft2(x), "aten._fft_r2c"),
        (lambda m, x: torch.cdist(sequence(x), m.w[None].mT), "aten._cdist_forward"),
    ],
)
def test_an_operator_without_a_formula_is_an_error_that_names_it_and_not_a_zero(function, operator):
    with pytest.raises(CostError, match=f"no MAC formula for {operator}"):
        count_on_meta(lambda: Apply(function, w=(8, 3)), (8, 4, 4))


def test_an_unknown_operator_is_an_error_the_second_time_too():
    for _ in range(2):
        with pytest.raises(CostError, match=r"autokd_tests\.mix"):
            count_on_meta(lambda: Apply(lambda m, x: mix(x, m.w), w=(8, 3)), (8, 4, 4))


def test_an_image_size_that_a_model_refuses_is_one_line():
    with pytest.raises(
        CostError, match=r"^VisionTransformer can't be run on an image of 3x32x32: .*"
    ) as e:
        count_on_meta(lambda: timm.create_model("vit_tiny_patch16_224"), (3, 32, 32))
    assert "\n" not in str(e.value)


def test_a_model_that_cannot_be_built_is_one_line():
    with pytest.raises(CostError, match="the model can't be built on the meta device: TypeError"):
        count_on_meta(lambda: timm.create_model("resnet18", colour="red"), (3, 32, 32))


def test_an_error_of_ours_passes_through_unchanged():
    def build():
        raise DataError("no images")

    with pytest.raises(DataError, match=r"^no images$"):
        count_on_meta(build, (3, 32, 32))


def counted(macs, *, params=10, uncounted=()) -> Count:
    count = count_on_meta(lambda: nn.Conv2d(1, 1, 1), (1, 1, 1))
    changes = {
        "macs": macs,
        "params": params,
        "by_operator": {"conv": macs},
        "uncounted": uncounted,
    }
    return Count(**{name: changes.get(name, getattr(count, name)) for name in Count.__slots__})


@pytest.mark.parametrize("macs", [995_000, 1_000_000, 1_005_000])
def test_counts_within_half_a_percent_agree(macs):
    check_counts(counted(1_000_000), counted(macs))


@pytest.mark.parametrize("macs", [0, 994_999, 1_005_001])
def test_counts_further_apart_are_an_error_that_names_the_operators(macs):
    with pytest.raises(CostError, match=r"1\.00M on the meta device \[conv 1\.00M\].*aten::mixing"):
        check_counts(counted(1_000_000), counted(macs, uncounted=("aten::mixing",)))


def test_macs_where_the_exact_count_has_none_are_an_error():
    with pytest.raises(CostError, match="two counts of MACs disagree: 0 on the meta device"):
        check_counts(counted(0), counted(5))


def test_counts_of_different_models_are_an_error():
    with pytest.raises(CostError, match="10 parameters on the meta device, 11 in the model itself"):
        check_counts(counted(100), counted(100, params=11))
