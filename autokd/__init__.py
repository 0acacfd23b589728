"""Search distilled students under a hardware budget; keep the Pareto front in MLflow."""

__version__ = "0.1.0"
