"""Task metrics, measured."""
