"""From a finished trial to a file that ships."""

from autokd.exporting.export import Exported, export_student
from autokd.exporting.formats import FORMATS
from autokd.exporting.parity import Parity

__all__ = ["FORMATS", "Exported", "Parity", "export_student"]
