"""The W&B workspace and report of the project, from code, over the names of `gpot.tracking.names`."""
