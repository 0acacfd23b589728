"""The second count: it agrees with the first on real architectures and leaves the model alone."""

import copy
import logging

import pytest
import timm
import torch
from torch import nn

from autokd.api.measure import published_macs
from autokd.cost import check_counts, count_on_meta, count_with_fvcore
from autokd.errors import CostError

# Name, image size, keywords. Attention, padding="same", windows, gates, an LSTM: one of each.
FAST = [
    ("resnet10t", 32, {}),
    ("mobilenetv3_small_050", 32, {}),
    ("convnext_atto", 32, {}),
    ("deit_tiny_patch16_224", 32, {"img_size": 32, "depth": 2}),
    ("pit_ti_224", 64, {"img_size": 64}),
    ("mobilevit_xxs", 64, {}),
    ("convmixer_768_32", 28, {}),
    ("swin_tiny_patch4_window7_224", 56, {"img_size": 56, "depths": (1, 1, 1, 1)}),
    ("edgenext_xx_small", 64, {}),
    ("cait_xxs24_224", 32, {"img_size": 32, "depth": 2}),
    ("xcit_nano_12_p16_224", 32, {"img_size": 32, "depth": 2}),
    ("sequencer2d_s", 56, {"layers": (1, 1, 1, 1)}),
    ("vit_tiny_patch16_224", 32, {"img_size": 32, "patch_size": 4, "depth": 2}),
]
SLOW = [
    ("lcnet_035", 32, {}),
    ("mixer_s32_224", 64, {"img_size": 64}),
    ("mobilenetv2_035", 32, {}),
    ("efficientnet_lite0", 32, {}),
    ("regnetx_002", 32, {}),
    ("nf_regnet_b0", 32, {}),
    ("poolformer_s12", 32, {}),
    ("ghostnet_050", 64, {}),
    ("efficientformer_l1", 224, {}),
    ("efficientnet_b0", 224, {}),
    ("mobilenetv4_hybrid_medium", 128, {}),
    ("levit_128s", 224, {}),
    ("tiny_vit_5m_224", 224, {}),
    ("pit_xs_224", 224, {}),
    ("maxvit_rmlp_pico_rw_256", 256, {}),
    ("eca_nfnet_l0", 224, {}),
    ("lambda_resnet26t", 256, {}),
    ("bat_resnext26ts", 256, {}),
]


def assert_counts_agree(model, size, arguments):
    def build():
        return timm.create_model(model, num_classes=10, **arguments)

    exact = count_on_meta(build, (3, size, size))
    assert exact.macs > 0
    check_counts(exact, count_with_fvcore(build(), (3, size, size)))


@pytest.mark.parametrize(("model", "size", "arguments"), FAST)
def test_both_counters_agree(model, size, arguments):
    assert_counts_agree(model, size, arguments)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "size", "arguments"), SLOW)
def test_both_counters_agree_on_models_that_take_seconds(model, size, arguments):
    assert_counts_agree(model, size, arguments)


def smallest_of_each_module():
    """The first two small-sounding models of every timm module, those known to need no larger machine."""
    small = ("nano", "atto", "tiny", "pico", "mini", "xxs", "_xs", "_s0", "_m0", "b0", "18", "lite")
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        yield from ([name for name in names if any(s in name for s in small)] or names)[:2]


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(set(smallest_of_each_module())))
def test_both_counters_agree_over_all_of_timm(model):
    def build():
        return timm.create_model(model, num_classes=10)

    shape = timm.models.get_pretrained_cfg(model).input_size
    exact = count_on_meta(build, shape)
    if exact.macs > 3e9 or exact.params > 40e6:
        pytest.skip("too large to be traced here")
    check_counts(exact, count_with_fvcore(build(), shape))


def hooks_of(model):
    return [(dict(m._forward_pre_hooks), dict(m._forward_hooks)) for m in model.modules()]


def test_statistics_modes_and_hooks_are_left_as_they_were():
    model = timm.create_model("mobilenetv3_small_050", num_classes=10).train()
    model.blocks[0].eval()  # a frozen part
    model.register_forward_hook(lambda *_: None)
    modes, hooks = [m.training for m in model.modules()], hooks_of(model)
    state = copy.deepcopy(model.state_dict())
    count_with_fvcore(model, (3, 32, 32))
    assert [m.training for m in model.modules()] == modes
    assert hooks_of(model) == hooks
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


class Refuses(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image):
        raise RuntimeError(f"no images,\n  {self.conv(image).shape} or otherwise")


def test_a_failed_trace_leaves_no_hooks_and_says_which_model_failed():
    model = nn.Sequential(Refuses()).train()
    with pytest.raises(
        CostError, match="Sequential: fvcore can't count it: RuntimeError: no images, "
    ) as e:
        count_with_fvcore(model, (3, 8, 8))
    assert "\n" not in str(e.value)
    assert hooks_of(model) == [({}, {})] * 3
    assert model.training
    assert model[0].training


class Vectors(nn.Module):
    def forward(self, image):
        raise IndexError


def test_global_switches_are_restored():
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    before = torch.backends.mha.get_fastpath_enabled(), logger.disabled
    with pytest.raises(CostError, match="IndexError"):
        count_with_fvcore(Vectors(), (3, 8, 8))
    assert (torch.backends.mha.get_fastpath_enabled(), logger.disabled) == before


def test_nothing_is_logged(caplog):
    count_with_fvcore(timm.create_model("mobilenetv3_small_050"), (3, 32, 32))
    assert not caplog.records


def test_an_operator_with_products_that_fvcore_does_not_know_is_named():
    class Far(nn.Module):
        def forward(self, image):
            return torch.cdist(image, image)

    assert count_with_fvcore(Far(), (3, 8, 8)).uncounted == ("aten::cdist",)


def test_activations_are_not_among_the_uncounted():
    count = count_with_fvcore(timm.create_model("mobilenetv3_small_050"), (3, 32, 32))
    assert count.uncounted == ()


@pytest.mark.parametrize(
    ("model", "giga"),
    # results/benchmark-infer-*-pt240 of timm's repository; two digits are published
    [("mobileone_s0", 1.09), ("deit_tiny_patch16_224", 1.26), ("mobilenetv3_small_100", 0.06)],
)
def test_timm_s_published_figure_is_found_on_request(model, giga):
    assert published_macs(model) / 1e9 == pytest.approx(giga, abs=0.005)
