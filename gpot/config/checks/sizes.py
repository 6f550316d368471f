"""Rules of numbers: sizes that are positive and fit one another."""

from __future__ import annotations

import math

from gpot.config.checks.subjects import Gps
from gpot.config.choices import Schedule, Solver, Source
from gpot.config.schema import (
    BNAFConfig,
    BoundsConfig,
    CPFlowConfig,
    DatasetConfig,
    DSpritesConfig,
    EvaluateConfig,
    FamilyConfig,
    FFJORDConfig,
    FlowConfig,
    OptimizersConfig,
    ReportConfig,
    VaeConfig,
)
from gpot.errors import BadConfig

LARGEST_SEED = 2**32 - 1  # of NumPy's generators


def seeds_in_range(seed: int, gps: Gps, report: ReportConfig) -> None:
    seeds = {"seed": seed} | {f"{name}.seed": gp.seed for name, gp in gps.items() if gp.seed is not None}
    seeds |= {f"report.seeds[{k}]": value for k, value in enumerate(report.seeds)}
    for name, value in seeds.items():
        if not 0 <= value <= LARGEST_SEED:
            raise BadConfig(
                f"{name} must lie in 0..{LARGEST_SEED}, got {value}. Type {name.partition('[')[0]}=1234, say."
            )


def seeds_differ(report: ReportConfig) -> None:
    seeds = report.seeds
    if len(set(seeds)) != len(seeds):
        raise BadConfig(
            f"report.seeds are different numbers; got {seeds}. Type 'report.seeds=[1,2,3]', or "
            "'report.seeds=[]' for the seed of the run alone."
        )


def sizes_of(family: FamilyConfig) -> dict[str, int | None]:
    """The sizes among the settings of a family, by name; of a list the smallest."""
    return {name: min(size, default=0) if isinstance(size, list) else size for name, size in vars(family).items()}


def sizes_positive(
    vae: VaeConfig | None, flow: FlowConfig, gps: Gps, optimizer: OptimizersConfig, evaluate: EvaluateConfig,
    bounds: BoundsConfig,
) -> None:  # fmt: skip
    values: dict[str, float | None] = {
        "flow.epochs": flow.epochs,
        "flow.batch_size": flow.batch_size,
        "optimizer.vae.lr": optimizer.vae.lr,
        "optimizer.flow.lr": optimizer.flow.lr,
        "optimizer.gp.lr": optimizer.gp.lr,
        "evaluate.n_prior": evaluate.n_prior,
        "evaluate.n_data": evaluate.n_data,
        "evaluate.n_exact": evaluate.n_exact,
        "evaluate.certificate_batches": evaluate.certificate_batches,
        "evaluate.n_dci_train": evaluate.n_dci_train,
        "evaluate.n_dci_test": evaluate.n_dci_test,
        "evaluate.optimum_sizes": min(evaluate.optimum_sizes, default=1),
        "evaluate.optimum_repeats": evaluate.optimum_repeats,
        "bounds.n_train": bounds.n_train,
        "bounds.batch_size": bounds.batch_size,
        "bounds.lr": bounds.lr,
        "bounds.groups": bounds.groups,
        "bounds.pieces": bounds.pieces,
    }
    if vae is not None:
        values |= {"vae.epochs": vae.epochs, "vae.batch_size": vae.batch_size}
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
    for name, gp in gps.items():
        values |= {
            f"{name}.epochs": gp.epochs,
            f"{name}.epochs_penalized": gp.epochs_penalized,
            f"{name}.epochs_twist": gp.epochs_twist,
            f"{name}.batch_size": gp.batch_size,
            f"{name}.n_train": gp.n_train,
            f"{name}.n_validation": gp.n_validation,
            f"{name}.n_steps": gp.n_steps,
            f"{name}.lr_factor": gp.lr_factor,
            f"{name}.logdet_tolerance": gp.logdet_tolerance,
        } | {f"{name}.family.{option}": size for option, size in sizes_of(gp.family).items()}
    for part in ("vae", "flow", "gp"):
        values[f"optimizer.{part}.gradient_clip"] = getattr(optimizer, part).gradient_clip
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            what = "a list of positive numbers" if name.endswith(("hidden", "sizes")) else "a positive number"
            raise BadConfig(f"{name} must be {what}, got {value}. Set {name} to {what}.")


def rates_not_negative(optimizer: OptimizersConfig, bounds: BoundsConfig, evaluate: EvaluateConfig) -> None:
    values: dict[str, float] = {
        f"optimizer.{part}.weight_decay": getattr(optimizer, part).weight_decay for part in ("vae", "flow", "gp")
    }
    values |= {"bounds.steps": bounds.steps, "bounds.regression_steps": bounds.regression_steps}
    values |= {"evaluate.alpha": evaluate.alpha}
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise BadConfig(
                f"{name} must be at least 0 and finite, got {value}. Set {name}=0, or to a positive number."
            )


FINEST_TOLERANCE = 1e-7  # about the distance of neighbouring float32 numbers near 1


def tolerances_reachable(flow: FlowConfig) -> None:
    if isinstance(flow, FFJORDConfig) and 0 < flow.tolerance < FINEST_TOLERANCE:
        raise BadConfig(
            f"flow.tolerance is that of dopri5 in float32, whose steps it would make ever smaller below "
            f"{FINEST_TOLERANCE:g}; got {flow.tolerance:g}. Set flow.tolerance=1e-5."
        )


def schedules_complete(optimizer: OptimizersConfig) -> None:
    for part in ("vae", "flow", "gp"):
        name, adam = f"optimizer.{part}", getattr(optimizer, part)
        steps = list(adam.points)
        typed = f"'++{name}.points={{0: 0.0, 1000: 1.0, 9000: 0.0}}' (step: factor of lr)"
        if (adam.schedule is Schedule.points) is not bool(steps):
            raise BadConfig(
                f"{name}.schedule={adam.schedule.value} with {len(steps)} points: schedule=points goes with "
                f"points, and no other does. Type '{name}.schedule=points' {typed}."
            )
        if steps != sorted(steps) or min([0, *adam.points.values()]) < 0:
            raise BadConfig(
                f"{name}.points are steps in rising order, each with a factor of at least 0, got "
                f"{dict(adam.points)}. Type {typed}."
            )


def ceiling_rises(vae: VaeConfig | None) -> None:
    points = {} if vae is None else vae.ceiling
    if list(points) != sorted(points) or min([1, *points.values()]) <= 0:
        raise BadConfig(
            f"vae.ceiling has steps in rising order, each with the largest weight there, above 0, got {dict(points)}. "
            "Type '++vae.ceiling={10000: 6.4, 11000: 0.1, 20000: 0.1, 30000: 6.4}', or leave it out."
        )


def batches_fit(gps: Gps, vae: VaeConfig | None) -> None:
    for name, gp in gps.items():
        if gp.batch_size > gp.n_train:
            raise BadConfig(
                f"{name}.batch_size must be at most {name}.n_train, got {gp.batch_size} and {gp.n_train}. "
                f"Set {name}.batch_size={gp.n_train} or draw more samples."
            )
    if vae is not None and vae.batch_size < 3:
        raise BadConfig(
            f"vae.batch_size must be at least 3 (the stratified weights of beta-TCVAE), got {vae.batch_size}."
        )


def certificate_fits(evaluate: EvaluateConfig, gps: Gps) -> None:
    batch = evaluate.certificate_batch
    for name, gp in gps.items():
        option = "n_prior" if gp.source is Source.prior else "n_data"
        samples = getattr(evaluate, option)
        if not 2 <= batch <= samples:
            raise BadConfig(
                f"evaluate.certificate_batch must lie in 2..{samples}, the number of samples evaluate.{option} "
                f"({name}.source={gp.source.value}), and got {batch}. Set evaluate.certificate_batch in that range, "
                f"or a larger evaluate.{option}."
            )


def grid_shiftable(flow: FlowConfig) -> None:
    if isinstance(flow, FFJORDConfig) and flow.shifted_grid and flow.training_solver is not Solver.rk4:
        raise BadConfig(
            f"flow.shifted_grid shifts the grid of flow.training_solver=rk4; got {flow.training_solver.value}, which "
            "chooses its own. Type flow.shifted_grid=false, or flow.training_solver=rk4."
        )


def grid_refinable(gps: Gps) -> None:
    for name, gp in gps.items():
        if gp.max_steps < gp.n_steps:
            raise BadConfig(
                f"{name}.max_steps is the finest time grid of the fidelity guard and must be at least {name}.n_steps; "
                f"got {gp.max_steps} and {gp.n_steps}. Set {name}.max_steps={gp.n_steps} for no refinement."
            )


def split_fits(dataset: DatasetConfig, evaluate: EvaluateConfig) -> None:
    if not isinstance(dataset, DSpritesConfig):
        return
    have, train, test = dataset.n_images, evaluate.n_dci_train, evaluate.n_dci_test
    if train is None or test is None:
        raise BadConfig(
            "the disentanglement split of a dataset with labels needs evaluate.n_dci_train and evaluate.n_dci_test, "
            f"got {train} and {test}. Set evaluate.n_dci_train=40000 evaluate.n_dci_test=10000, the paper's."
        )
    if have is not None and train + test > have:
        raise BadConfig(
            f"the disentanglement split needs evaluate.n_dci_train + evaluate.n_dci_test = {train + test} images, and "
            f"dataset.n_images is {have}. Set dataset.n_images=null for all images, or a smaller split: "
            "budget=smoke has one."
        )
