"""Trackers: where what became of a release is logged, by each tracker's own client."""
