"""Adapters of what can run a model. Worker-side."""
