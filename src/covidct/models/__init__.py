"""A name becomes a CTClassifier."""
