"""Figures: arrays go in, a Matplotlib figure comes out; nothing here knows a config or writes a file unasked."""
