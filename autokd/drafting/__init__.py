"""A first search file for images that nobody has described yet."""
