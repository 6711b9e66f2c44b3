"""Steps made in workers, and kept."""
