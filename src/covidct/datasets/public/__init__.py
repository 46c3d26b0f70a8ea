"""Readers of the public sets; the catalogue names one for each entry."""
