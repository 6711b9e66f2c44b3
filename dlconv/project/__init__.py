"""A release as its project file says it."""
