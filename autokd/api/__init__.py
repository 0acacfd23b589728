"""The public Python functions: what the commands do, for notebooks and scripts."""
