"""Loaders of the public datasets, named by the entries of the catalogue."""
