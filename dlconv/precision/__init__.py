"""A lower precision: what stays in float32, what it is calibrated on, and its own noise."""
