"""Recurrent encoders, one linear head on the last step, and the tutorials' toy runs."""
