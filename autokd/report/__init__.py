"""What a search found, for people: a table, a picture and a few sentences."""
