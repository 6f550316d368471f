"""The stages: one function `stage(config) -> Stage` each, which says what a result is made of; a workshop makes it.

images -> `vae` -> `latents` -> `flow` -> `pairs` -> `gp` -> `evaluate` -> `report`
"""
