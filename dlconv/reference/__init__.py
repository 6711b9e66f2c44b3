"""The source model and its own answers."""
