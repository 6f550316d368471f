"""Rules between groups, one small function each: what was asked, what was found, what to type next."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gpot.config.schema import Config, PenaltyConfig, PenaltyKind, VelocityName
from gpot.errors import BadConfig


def dimensions_agree(config: Config) -> None:
    if config.dataset.dim < 2:
        raise BadConfig(
            f"a Gaussian-preserving flow needs dataset.dim of at least 2, got {config.dataset.dim}. Set vae.latent_dim "
            "to 2 or more: dataset.dim follows it."
        )
    if config.dataset.dim != config.vae.latent_dim:
        raise BadConfig(
            f"the flow of dataset '{config.dataset.name}' sees the VAE's codes, so dataset.dim must equal "
            f"vae.latent_dim; got {config.dataset.dim} and {config.vae.latent_dim}. Set vae.latent_dim only: "
            "dataset.dim follows it."
        )


def blocks_fit(config: Config) -> None:
    dim, blocks = config.dataset.dim, config.gp.mlp.n_blocks
    if config.gp.velocity is VelocityName.mlp and blocks is not None and not 1 <= blocks <= dim - 1:
        raise BadConfig(
            f"gp.mlp.n_blocks must lie in 1..{dim - 1} for points of dimension {dim} (eq. 14), got {blocks}. "
            "Set gp.mlp.n_blocks=null for all of them."
        )


def sizes_positive(config: Config) -> None:
    values = {
        "vae.epochs": config.vae.epochs,
        "vae.batch_size": config.vae.batch_size,
        "flow.epochs": config.flow.epochs,
        "flow.batch_size": config.flow.batch_size,
        "flow.training_steps": config.flow.training_steps,
        "flow.solver_steps": config.flow.solver_steps,
        "flow.tolerance": config.flow.tolerance,
        "flow.n_blocks": config.flow.n_blocks,
        "flow.hidden": min(config.flow.hidden, default=0),
        "gp.epochs": config.gp.epochs,
        "gp.epochs_penalized": config.gp.epochs_penalized,
        "gp.batch_size": config.gp.batch_size,
        "gp.n_validation": config.gp.n_validation,
        "gp.n_steps": config.gp.n_steps,
        "gp.logdet_tolerance": config.gp.logdet_tolerance,
        "gp.mlp.hidden": min(config.gp.mlp.hidden, default=0),
        "gp.ridge.width": config.gp.ridge.width,
        "optimizer.vae.lr": config.optimizer.vae.lr,
        "optimizer.flow.lr": config.optimizer.flow.lr,
        "optimizer.gp.lr": config.optimizer.gp.lr,
        "evaluate.n_data": config.evaluate.n_data,
        "evaluate.n_exact": config.evaluate.n_exact,
        "evaluate.certificate_batches": config.evaluate.certificate_batches,
        "evaluate.n_dci_train": config.evaluate.n_dci_train,
        "evaluate.n_dci_test": config.evaluate.n_dci_test,
    }
    for name, value in values.items():
        if value <= 0:
            what = "a list of positive numbers" if name.endswith("hidden") else "a positive number"
            raise BadConfig(f"{name} must be {what}, got {value}. Set {name} to {what}.")


def batches_fit(config: Config) -> None:
    if config.gp.batch_size > config.gp.n_train:
        raise BadConfig(
            f"gp.batch_size must be at most gp.n_train, got {config.gp.batch_size} and {config.gp.n_train}. "
            f"Set gp.batch_size={config.gp.n_train} or draw more samples."
        )
    if config.vae.batch_size < 3:
        raise BadConfig(
            f"vae.batch_size must be at least 3 (the stratified weights of beta-TCVAE), got {config.vae.batch_size}."
        )


def certificate_fits(config: Config) -> None:
    batch, samples = config.evaluate.certificate_batch, config.evaluate.n_prior
    if not 2 <= batch <= samples:
        raise BadConfig(
            f"evaluate.certificate_batch must lie in 2..{samples}, the number of samples evaluate.n_prior, and got "
            f"{batch}. Set evaluate.certificate_batch in that range, or a larger evaluate.n_prior."
        )


def grid_refinable(config: Config) -> None:
    if config.gp.max_steps < config.gp.n_steps:
        raise BadConfig(
            f"gp.max_steps is the finest time grid of the fidelity guard and must be at least gp.n_steps; got "
            f"{config.gp.max_steps} and {config.gp.n_steps}. Set gp.max_steps={config.gp.n_steps} for no refinement."
        )


def split_fits(config: Config) -> None:
    have = config.dataset.n_images
    need = config.evaluate.n_dci_train + config.evaluate.n_dci_test
    if have is not None and need > have:
        raise BadConfig(
            f"the disentanglement split needs evaluate.n_dci_train + evaluate.n_dci_test = {need} images, and "
            f"dataset.n_images is {have}. Set dataset.n_images=null for all images, or a smaller split."
        )


def penalty_consistent(config: Config) -> None:
    penalties: dict[str, PenaltyConfig] = {"penalty": config.penalty}
    penalties |= {f"report.variants.{name}": p for name, p in config.report.variants.items()}
    for name, penalty in penalties.items():
        if penalty.kind is PenaltyKind.none and penalty.weight != 0:
            raise BadConfig(
                f"{name}.kind=none and {name}.weight={penalty.weight} contradict each other: no penalty has no weight. "
                "Choose penalty=euler_toy, euler_latent or kinetic, and change the weight of that."
            )
        particles = 1 if penalty.particles is None else penalty.particles
        if penalty.weight < 0 or penalty.halvings < 0 or penalty.probes < 1 or particles < 1:
            raise BadConfig(
                f"{name} needs weight >= 0, halvings >= 0, probes >= 1 and particles >= 1 or null; got "
                f"{penalty.weight}, {penalty.halvings}, {penalty.probes}, {penalty.particles}."
            )


def device_present(config: Config) -> None:
    if config.device.accelerator == "gpu" and not torch.cuda.is_available():
        raise BadConfig(
            "device=gpu asks for a CUDA GPU, and torch finds none. Type device=cpu, or install a CUDA torch."
        )


RULES: tuple[Callable[[Config], None], ...] = (
    dimensions_agree,
    blocks_fit,
    sizes_positive,
    batches_fit,
    certificate_fits,
    grid_refinable,
    split_fits,
    penalty_consistent,
    device_present,
)


def check(config: Config) -> None:
    """Apply every rule. Raises: BadConfig for the first that fails."""
    for rule in RULES:
        rule(config)
