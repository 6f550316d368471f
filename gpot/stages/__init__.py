"""The stages: one function `stage(config, store) -> Artifact` each, callable without Hydra.

images -> `vae` -> `latents` -> `flow` -> `pairs` -> `gp` -> `evaluate` -> `report`
"""
