"""The stages: one function each, which says what a result is made of; `Pipeline` wires them, a workshop makes them.

images -> `vae` -> `latents` -> `flow` -> `pairs` -> `gp` -> `evaluate` -> `report`
"""
