"""From a finished trial to a file that ships."""

from autokd.exporting.export import Exported, export_student
from autokd.exporting.formats import FORMATS
from autokd.exporting.logged import log_front
from autokd.exporting.parity import Parity
from autokd.exporting.registered import Registered, register_student

__all__ = [
    "FORMATS",
    "Exported",
    "Parity",
    "Registered",
    "export_student",
    "log_front",
    "register_student",
]
