"""Whether an export is held against its student."""

import torch

from autokd.exporting.parity import EXACT, ROUNDED, compare


def test_an_export_that_says_something_else_does_not_hold():
    labels = torch.arange(4)
    exact = torch.eye(4)
    assert compare(exact, exact + 1e-5, labels, tolerance=EXACT).holds
    assert not compare(exact, exact + 0.01, labels, tolerance=EXACT).holds
    assert compare(exact, exact + 0.01, labels, tolerance=ROUNDED).holds
    turned = compare(exact, exact.roll(1, 0), labels, tolerance=ROUNDED)
    assert (turned.agreement, turned.accuracy, turned.student_accuracy) == (0, 0, 1)
    assert not turned.holds
