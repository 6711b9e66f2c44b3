"""Latency, measured and gated."""
