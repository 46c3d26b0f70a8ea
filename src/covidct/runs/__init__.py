"""Many splits, and what lasts of them."""
