"""A model of features with a classifier behind it."""

from __future__ import annotations

from torch import Tensor, nn


class Headed(nn.Module):
    """Logits (B, classes) of a model that gives features (B, D); it has timm's parts, so that its features can be asked for.

    The classifier begins with zeroes: nobody has trained it.
    """

    def __init__(self, body: nn.Module, *, features: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(features, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.num_classes = classes

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward_features(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.body(pixels)
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        return features if pre_logits else self.head(features)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(pixels))
