"""Measurements of speed and memory; each prints a table and writes a JSON file."""
