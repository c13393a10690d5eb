"""Recurrent layers in C for the CPU, compiled at first use: the same function as torch's, in less time."""
