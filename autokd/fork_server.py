"""Imported first, and by fork servers alone: one whose driver is killed while it imports, or has children that were, ends too."""

from autokd.orphan import end_when_orphaned

end_when_orphaned()
