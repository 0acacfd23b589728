"""Narrow strided 1 x 1 convolutions in a form that survives training on CPUs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 16  # channels that oneDNN handles at once with AVX-512, with AVX2 8; fewer are padded to it


class _SubsampledFirst(nn.Conv2d):
    """Leaves out pixels before it multiplies, where a backward pass may follow on a CPU: the same answer for the same work."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not self.training or input.device.type != "cpu":
            answer: Tensor = super()._conv_forward(input, weight, bias)
            return answer
        down, right = self.stride
        return F.conv2d(input[..., ::down, ::right], weight, bias)


def survive_training(model: nn.Module) -> nn.Module:
    """The model itself, whose names, weights, costs and exports stay what they were.

    In channels_last the backward pass of a 1 x 1 convolution with a stride and fewer channels than a block writes beyond
    its memory (oneDNN 3.13 in torch 2.15), and the process dies: with AVX-512 from maps of 56 px on, with AVX2 from 6.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d and _is_at_risk(module):
            module.__class__ = _SubsampledFirst
    return model


def _is_at_risk(conv: nn.Conv2d) -> bool:
    is_point = conv.kernel_size == (1, 1) and conv.padding == (0, 0) and conv.groups == 1
    return is_point and max(conv.stride) > 1 and conv.in_channels < BLOCK
