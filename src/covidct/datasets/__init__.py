"""Files on disk become a CTDataset, and its slices canvases."""
