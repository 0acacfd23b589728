"""The sections of a search file: what each may hold. `autokd.config` puts them together.

The line under each key is what the JSON schema and the file reference say about it.
"""
