"""Edges, one file each, and the graph of them. Worker-side but for the graph."""
