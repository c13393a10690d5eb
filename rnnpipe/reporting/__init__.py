"""What people read of runs and models outside of a terminal: pages, model cards, comparisons. Without MLflow."""
