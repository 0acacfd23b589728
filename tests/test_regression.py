"""The classifier of features: what it says, how it is chosen, and what few images do to it."""

from __future__ import annotations

import numpy as np
import pytest

from autokd.teachers import regression
from autokd.teachers.regression import fit_classifier


def made(classes: int, *, each: int = 30, features: int = 12, seed: int = 0):
    """Features around a centre of each class, of very different sizes."""
    random = np.random.default_rng(seed)
    labels = np.arange(classes).repeat(each)
    centres = np.random.default_rng(99).normal(size=(classes, features))
    found = 1.5 * centres[labels] + random.normal(size=(len(labels), features))
    return (found * np.logspace(-2, 2, features)).astype(np.float32), labels


def accuracy(fitted, features, labels) -> float:
    answers = features @ fitted.weight.T + fitted.bias
    return float((answers.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("limit", [regression.LOGISTIC, 0])
def test_new_images_are_told_apart(monkeypatch, classes, limit):
    monkeypatch.setattr(regression, "LOGISTIC", limit)
    fitted = fit_classifier(*made(classes), classes=classes)
    assert ("ridge" in fitted.method) == (limit == 0)
    assert fitted.weight.shape == (classes, 12)
    assert accuracy(fitted, *made(classes, seed=1)) > 0.9


@pytest.mark.parametrize("limit", [regression.LOGISTIC, 0])
def test_logits_are_as_sure_as_they_are_right(monkeypatch, limit):
    """The mean log-likelihood of new images is near the best that a factor on the logits could bring."""
    monkeypatch.setattr(regression, "LOGISTIC", limit)
    fitted = fit_classifier(*made(5), classes=5)
    features, labels = made(5, seed=1)
    logits = features @ fitted.weight.T + fitted.bias

    def loss(scale: float) -> float:
        scaled = scale * logits
        return float(
            np.mean(np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(labels)), labels])
        )

    assert loss(1.0) < min(loss(scale) for scale in np.logspace(-1, 1, 21)) + 0.05


def test_answers_do_not_depend_on_the_features_units():
    features, labels = made(4)
    one = fit_classifier(features, labels, classes=4)
    other = fit_classifier(features * 7 + 3, labels, classes=4)
    first = features @ one.weight.T + one.bias
    second = (features * 7 + 3) @ other.weight.T + other.bias
    np.testing.assert_allclose(first, second, rtol=1e-2, atol=1e-2)


def test_a_class_without_images_is_never_the_answer_and_a_single_image_is_enough():
    features, labels = made(3)
    labels = labels * 2  # 0, 2, 4 of five
    some = np.concatenate([np.flatnonzero(labels < 4), np.flatnonzero(labels == 4)[:1]])
    fitted = fit_classifier(features[some], labels[some], classes=5)
    assert "ridge" in fitted.method
    answers = (features @ fitted.weight.T + fitted.bias).argmax(axis=1)
    assert set(answers) == {0, 2, 4}


def test_a_feature_that_never_changes_tells_nothing():
    features, labels = made(3)
    features[:, 4] = 2.5
    assert np.abs(fit_classifier(features, labels, classes=3).weight[:, 4]).max() < 1e-3
