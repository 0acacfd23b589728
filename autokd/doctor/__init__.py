"""Whether this installation, this machine and these stores would do for a search: `autokd doctor`."""

from autokd.doctor.examine import examine
from autokd.doctor.finding import Finding

__all__ = ["Finding", "examine"]
