"""What is here, and what works."""
