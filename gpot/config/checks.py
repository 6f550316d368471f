"""Rules between groups, one small function each: what was asked, what was found, what to type next."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gpot.config.choices import Inverse, LoggerKind, PenaltyKind, Source, WandbMode
from gpot.config.schema import (
    BNAFConfig,
    Config,
    CPFlowConfig,
    DSpritesConfig,
    FamilyConfig,
    FFJORDConfig,
    GpConfig,
    ImagesConfig,
    MlpConfig,
    PenaltyConfig,
    SpectralConfig,
    TwistConfig,
)
from gpot.errors import BadConfig
from gpot.maths.charts import Chart


def gps_of(config: Config) -> dict[str, GpConfig]:
    """The GP flow of the run and those of the report's rows, by the name that an override would have."""
    variants = config.report.variants.items()
    return {"gp": config.gp} | {f"report.variants.{name}.gp": v.gp for name, v in variants if v.gp is not None}


def dimensions_agree(config: Config) -> None:
    if config.dataset.dim < 2:
        raise BadConfig(
            f"a Gaussian-preserving flow needs dataset.dim of at least 2, got {config.dataset.dim}. "
            + ("Set vae.latent_dim to 2 or more: dataset.dim follows it." if config.vae else "Give 2 columns or more.")
        )
    if not isinstance(config.dataset, ImagesConfig):
        return
    if config.vae is None:
        raise BadConfig(
            f"the flow of dataset '{config.dataset.name}' sees codes of its images, and vae is null. Type vae=btcvae."
        )
    if config.dataset.dim != config.vae.latent_dim:
        raise BadConfig(
            f"the flow of dataset '{config.dataset.name}' sees the VAE's codes, so dataset.dim must equal "
            f"vae.latent_dim; got {config.dataset.dim} and {config.vae.latent_dim}. Set vae.latent_dim only: "
            "dataset.dim follows it."
        )


def families_fit(config: Config) -> None:
    dim = config.dataset.dim
    for name, gp in gps_of(config).items():
        if isinstance(gp.family, TwistConfig) and dim < 3:
            raise BadConfig(
                f"{name}=twist turns planes by angles that depend on other coordinates: it needs dataset.dim "
                f"of at least 3, got {dim}. Type gp=ridge or gp=toy_ridge."
            )
        if isinstance(gp.family, SpectralConfig) and (dim != 2 or gp.chart is Chart.direct):
            raise BadConfig(
                f"{name}={gp.name} solves Euler's equations on the square: it needs dataset.dim of 2 and "
                f"{name}.chart=cube or gaussian, got {dim} and {gp.chart.value}. Type gp=mlp or gp=ridge, or "
                f"{name}.chart=gaussian."
            )


def penalty_has_a_path(config: Config) -> None:
    variants = {f"report.variants.{name}.": v for name, v in config.report.variants.items()}
    runs = {"": (config.gp, config.penalty)} | {
        name: (v.gp or config.gp, v.penalty or config.penalty) for name, v in variants.items() if v.flow is None
    }
    for name, (gp, penalty) in runs.items():
        if isinstance(gp.family, TwistConfig) and penalty.acting is not PenaltyKind.none:
            raise BadConfig(
                f"{name}gp=twist has no time, so no path that {name}penalty={penalty.name} could be of. "
                f"Type {'penalty=none' if not name else name + 'penalty.weight=0'}, or gp=ridge."
            )


def prior_samples_available(config: Config) -> None:
    if not isinstance(config.flow, BNAFConfig) or config.flow.inverse is not Inverse.none:
        return
    for name, gp in gps_of(config).items():
        if gp.source is Source.prior:
            raise BadConfig(
                f"{name}.source=prior pulls Gaussian samples back by the flow's inverse, and flow.inverse=none. "
                f"Type flow.inverse=bisection, or {name}.source=data."
            )


def seeds_differ(config: Config) -> None:
    seeds = config.report.seeds
    if len(set(seeds)) != len(seeds) or min(seeds, default=0) < 0:
        raise BadConfig(
            f"report.seeds are different numbers, none below 0; got {seeds}. Type 'report.seeds=[1,2,3]', or "
            "'report.seeds=[]' for the seed of the run alone."
        )


def blocks_fit(config: Config) -> None:
    dim = config.dataset.dim
    for name, gp in gps_of(config).items():
        blocks = gp.family.n_blocks if isinstance(gp.family, MlpConfig) else None
        if blocks is not None and not 1 <= blocks <= dim - 1:
            raise BadConfig(
                f"{name}.family.n_blocks must lie in 1..{dim - 1} for points of dimension {dim} (eq. 14), got "
                f"{blocks}. Set {name}.family.n_blocks=null for all of them."
            )


def sizes_of(family: FamilyConfig) -> dict[str, int | None]:
    """The sizes among the settings of a family, by name; of a list the smallest."""
    return {name: min(size, default=0) if isinstance(size, list) else size for name, size in vars(family).items()}


def sizes_positive(config: Config) -> None:
    flow, evaluate = config.flow, config.evaluate
    values: dict[str, float | None] = {
        "flow.epochs": flow.epochs,
        "flow.batch_size": flow.batch_size,
        "optimizer.vae.lr": config.optimizer.vae.lr,
        "optimizer.flow.lr": config.optimizer.flow.lr,
        "optimizer.gp.lr": config.optimizer.gp.lr,
        "evaluate.n_data": evaluate.n_data,
        "evaluate.n_exact": evaluate.n_exact,
        "evaluate.certificate_batches": evaluate.certificate_batches,
        "evaluate.n_dci_train": evaluate.n_dci_train,
        "evaluate.n_dci_test": evaluate.n_dci_test,
        "evaluate.optimum_sizes": min(evaluate.optimum_sizes, default=1),
        "evaluate.optimum_repeats": evaluate.optimum_repeats,
        "bounds.n_train": config.bounds.n_train,
        "bounds.batch_size": config.bounds.batch_size,
        "bounds.widths": min(config.bounds.widths, default=0),
    }
    if config.vae is not None:
        values |= {"vae.epochs": config.vae.epochs, "vae.batch_size": config.vae.batch_size}
    if isinstance(flow, FFJORDConfig):
        values |= {
            "flow.training_steps": flow.training_steps, "flow.solver_steps": flow.solver_steps,
            "flow.validation_steps": flow.validation_steps,
            "flow.tolerance": flow.tolerance, "flow.n_blocks": flow.n_blocks,
            "flow.hidden": min(flow.hidden, default=0),
        }  # fmt: skip
    elif isinstance(flow, BNAFConfig):
        values |= {
            "flow.width": flow.width, "flow.n_layers": flow.n_layers, "flow.n_blocks": flow.n_blocks,
            "flow.tolerance": flow.tolerance,
        }  # fmt: skip
    elif isinstance(flow, CPFlowConfig):
        values |= {
            "flow.width": flow.width, "flow.depth": flow.depth, "flow.n_blocks": flow.n_blocks,
            "flow.tolerance": flow.tolerance,
        }  # fmt: skip
    for name, gp in gps_of(config).items():
        values |= {
            f"{name}.epochs": gp.epochs,
            f"{name}.epochs_penalized": gp.epochs_penalized,
            f"{name}.batch_size": gp.batch_size,
            f"{name}.n_validation": gp.n_validation,
            f"{name}.n_steps": gp.n_steps,
            f"{name}.logdet_tolerance": gp.logdet_tolerance,
        } | {f"{name}.family.{option}": size for option, size in sizes_of(gp.family).items()}
    for name, value in values.items():
        if value is not None and value <= 0:
            what = "a list of positive numbers" if name.endswith(("hidden", "sizes")) else "a positive number"
            raise BadConfig(f"{name} must be {what}, got {value}. Set {name} to {what}.")


def batches_fit(config: Config) -> None:
    for name, gp in gps_of(config).items():
        if gp.batch_size > gp.n_train:
            raise BadConfig(
                f"{name}.batch_size must be at most {name}.n_train, got {gp.batch_size} and {gp.n_train}. "
                f"Set {name}.batch_size={gp.n_train} or draw more samples."
            )
    if config.vae is not None and config.vae.batch_size < 3:
        raise BadConfig(
            f"vae.batch_size must be at least 3 (the stratified weights of beta-TCVAE), got {config.vae.batch_size}."
        )


def certificate_fits(config: Config) -> None:
    batch = config.evaluate.certificate_batch
    for name, gp in gps_of(config).items():
        option = "n_prior" if gp.source is Source.prior else "n_data"
        samples = getattr(config.evaluate, option)
        if not 2 <= batch <= samples:
            raise BadConfig(
                f"evaluate.certificate_batch must lie in 2..{samples}, the number of samples evaluate.{option} "
                f"({name}.source={gp.source.value}), and got {batch}. Set evaluate.certificate_batch in that range, "
                f"or a larger evaluate.{option}."
            )


def grid_refinable(config: Config) -> None:
    for name, gp in gps_of(config).items():
        if gp.max_steps < gp.n_steps:
            raise BadConfig(
                f"{name}.max_steps is the finest time grid of the fidelity guard and must be at least {name}.n_steps; "
                f"got {gp.max_steps} and {gp.n_steps}. Set {name}.max_steps={gp.n_steps} for no refinement."
            )


def split_fits(config: Config) -> None:
    if not isinstance(config.dataset, DSpritesConfig):
        return
    have, train, test = config.dataset.n_images, config.evaluate.n_dci_train, config.evaluate.n_dci_test
    if train is None or test is None:
        raise BadConfig(
            "the disentanglement split of a dataset with labels needs evaluate.n_dci_train and evaluate.n_dci_test, "
            f"got {train} and {test}. Set evaluate.n_dci_train=40000 evaluate.n_dci_test=10000, the paper's."
        )
    if have is not None and train + test > have:
        raise BadConfig(
            f"the disentanglement split needs evaluate.n_dci_train + evaluate.n_dci_test = {train + test} images, and "
            f"dataset.n_images is {have}. Set dataset.n_images=null for all images, or a smaller split."
        )


def penalty_consistent(config: Config) -> None:
    penalties: dict[str, PenaltyConfig] = {"penalty": config.penalty}
    variants = config.report.variants.items()
    penalties |= {f"report.variants.{name}.penalty": v.penalty for name, v in variants if v.penalty is not None}
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


def logger_fits(config: Config) -> None:
    modes = [mode.value for mode in WandbMode]
    if config.logger.mode not in modes:
        raise BadConfig(
            f"logger.mode must be one of {', '.join(modes)}; found '{config.logger.mode}'. Type logger.mode=offline, "
            "or leave it out: auto sends a run where there is an API key."
        )
    if config.logger.figures < 0:
        raise BadConfig(
            f"logger.figures says how often in a run pictures are drawn, 0 for never; found {config.logger.figures}. "
            "Type logger.figures=5."
        )


def device_present(config: Config) -> None:
    if config.device.kind == "gpu" and not torch.cuda.is_available():
        raise BadConfig(
            "device=gpu asks for a CUDA GPU, and torch finds none. Type device=cpu, or install a CUDA torch."
        )


def processes_fit(config: Config) -> None:
    processes = config.device.processes
    if processes == 1:
        return
    if processes < 1:
        raise BadConfig(f"device.devices must be the number of processes, got {processes}. Set device.devices=2.")
    if config.logger.kind is not LoggerKind.none:
        raise BadConfig(
            f"logger={config.logger.name} follows a training in one process, and device.strategy=ddp has {processes}. "
            "Type logger=none, or another device."
        )
    have = torch.cuda.device_count()
    if config.device.kind == "gpu" and processes > have:
        raise BadConfig(
            f"device.strategy=ddp gives each of device.devices={processes} processes a GPU, and torch finds {have}. "
            f"Set device.devices={have}, or device.accelerator=cpu."
        )
    sizes = {"flow.batch_size": config.flow.batch_size}
    sizes |= {f"{name}.batch_size": gp.batch_size for name, gp in gps_of(config).items()}
    for name, size in sizes.items():
        if size % processes:
            raise BadConfig(
                f"device.strategy=ddp shares each batch among device.devices={processes} processes, and "
                f"{name}={size} is no multiple of that. Set {name}={max(1, size // processes) * processes}."
            )


RULES: tuple[Callable[[Config], None], ...] = (
    dimensions_agree,
    families_fit,
    penalty_has_a_path,
    prior_samples_available,
    blocks_fit,
    seeds_differ,
    sizes_positive,
    batches_fit,
    certificate_fits,
    grid_refinable,
    split_fits,
    penalty_consistent,
    logger_fits,
    device_present,
    processes_fit,
)


def check(config: Config) -> None:
    """Apply every rule. Raises: BadConfig for the first that fails."""
    for rule in RULES:
        rule(config)
