"""The MLflow store: a mirror of the search's own ledger that can be written again at any time.

Cheap to import: mlflow and pandas are imported inside functions, since mlflow alone takes more than a second.
"""
