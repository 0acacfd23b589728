"""ONNX graphs, and ONNX Runtime, which runs them: what students are deployed with."""

from autokd.runtime.graph import (
    METADATA_FLOATS,
    add_metadata,
    read_metadata,
    to_onnx,
    with_half_weights,
    with_normalisation,
)
from autokd.runtime.mixed import Rounding, quantise_mixed
from autokd.runtime.program import Pt2Model, to_pt2
from autokd.runtime.pte import PteModel, to_pte
from autokd.runtime.quantise import quantise
from autokd.runtime.session import OnnxModel, open_session, runtime_name

__all__ = [
    "METADATA_FLOATS",
    "OnnxModel",
    "Pt2Model",
    "PteModel",
    "Rounding",
    "add_metadata",
    "open_session",
    "quantise",
    "quantise_mixed",
    "read_metadata",
    "runtime_name",
    "to_onnx",
    "to_pt2",
    "to_pte",
    "with_half_weights",
    "with_normalisation",
]
