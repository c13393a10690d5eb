"""rnnpipe: recurrent nets as tracked, repeatable, scheduled pipeline tasks."""

__version__ = "0.1.0"
