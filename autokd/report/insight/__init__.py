"""What can be learned from a search, for people: sentences, pictures, a page."""
