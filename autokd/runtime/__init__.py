"""ONNX graphs, and ONNX Runtime, which runs them: what students are deployed with."""

from autokd.runtime.graph import to_onnx, with_half_weights, with_metadata, with_normalisation
from autokd.runtime.program import Pt2Model, to_pt2
from autokd.runtime.pte import PteModel, to_pte
from autokd.runtime.quantise import quantise
from autokd.runtime.session import OnnxModel, open_session, runtime_name

__all__ = [
    "OnnxModel",
    "Pt2Model",
    "PteModel",
    "open_session",
    "quantise",
    "runtime_name",
    "to_onnx",
    "to_pt2",
    "to_pte",
    "with_half_weights",
    "with_metadata",
    "with_normalisation",
]
