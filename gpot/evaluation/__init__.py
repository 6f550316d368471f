"""What a result must say: cost, likelihood, fidelity, energy, certificate, disentanglement."""
