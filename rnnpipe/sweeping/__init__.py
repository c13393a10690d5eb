"""Sweeps: trials of a config with other values, in Optuna's storage, chosen on validation images."""
