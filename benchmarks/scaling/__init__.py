"""Servers, synthetic runs and what is asked of them: the parts of the benchmark `scale`."""
