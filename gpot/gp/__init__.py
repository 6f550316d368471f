"""Gaussian-preserving flows: the velocity, the rotation, the flow s and the Monge map s o f."""
