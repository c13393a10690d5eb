"""Measurements whose results stand in docs/: run with `make bench`, never typed. The contract: suite.py."""
