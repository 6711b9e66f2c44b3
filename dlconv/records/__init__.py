"""What is kept of a run: bundles, receipts, outcomes."""
