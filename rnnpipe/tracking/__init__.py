"""Runs, models and versions in MLflow: the only place that imports it."""
