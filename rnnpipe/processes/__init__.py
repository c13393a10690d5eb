"""Processes that rnnpipe starts, supervises and never leaves behind."""
