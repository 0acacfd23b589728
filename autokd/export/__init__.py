"""From a finished trial to a file that ships."""

from autokd.export.export import Exported, export_student
from autokd.export.formats import FORMATS
from autokd.export.parity import Parity

__all__ = ["FORMATS", "Exported", "Parity", "export_student"]
