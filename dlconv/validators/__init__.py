"""Evidence in, verdict out. Nothing here runs a model."""
