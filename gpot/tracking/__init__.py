"""What a run tells a logger: the names, the loggers, W&B's offline runs and its dashboard."""
