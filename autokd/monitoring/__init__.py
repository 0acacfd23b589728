"""A student in use: new images against what was seen at export, and what to do about it."""
