"""Models that answer over HTTP, on this machine only: a page to draw on, and the front of MLflow's server."""
