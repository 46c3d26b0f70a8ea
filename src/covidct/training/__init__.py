"""Fit one network to one split."""
