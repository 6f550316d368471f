"""The configs: every choice composes, every mistake fails before anything is built and says what the options are."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from gpot.config import CONFIGS, Config, compose, sibling
from gpot.config.checks import RULES, check
from gpot.config.choices import Divergence, PenaltyKind, Schedule, Solver, Upstream
from gpot.config.plain import adam_settings
from gpot.config.schema import (
    GROUPS,
    DeepRidgeConfig,
    GpConfig,
    L1Cost,
    LpCost,
    MlpConfig,
    SpectralConfig,
    ToyConfig,
    TwistConfig,
)
from gpot.entry import explain
from gpot.errors import BadConfig
from gpot.gp.optimizer import Descent
from gpot.paper.names import METRICS
from gpot.paper.rows import Row
from gpot.stages.pipeline import Pipeline
from gpot.training.families import gp_optimizer_settings
from tests.conftest import ROOT

ROOTS = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base")


def options(group: str) -> list[str]:
    """Choices of a group as they are typed: `table1`, `fig4/gp_euler`."""
    folder = CONFIGS / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def values(node: Any, path: str = "") -> Any:
    """(name, value) of every option of a config."""
    if isinstance(node, dict) or hasattr(node, "__dataclass_fields__"):
        for name, child in (node if isinstance(node, dict) else vars(node)).items():
            yield from values(child, f"{path}{name}.")
    else:
        yield path.rstrip("."), node


def test_every_root_config_has_a_script_and_every_folder_a_schema() -> None:
    assert not [root for root in ROOTS if not (ROOT / "scripts" / f"{root}.py").is_file()]
    folders = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    # those without a schema choose options of other groups, or set theirs
    assert folders - {"experiment", "hydra", "launcher", "frozen", "scale", "schedule"} == set(GROUPS)


def sizes_of_training(gp: GpConfig) -> tuple[int, ...]:
    return gp.n_train, gp.n_validation, gp.epochs, gp.epochs_penalized, gp.epochs_twist, gp.batch_size


@pytest.mark.parametrize("root", ROOTS)
def test_every_root_composes_with_each_experiment_and_budget(root: str) -> None:
    # the roots share their defaults list (base.yaml), so one of them is composed with everything
    experiments = options("experiment") if root == "report" else ["fig4"]
    for experiment, budget in itertools.product(experiments, options("budget")):
        config = compose(root, [f"experiment={experiment}", f"budget={budget}"])
        assert config.budget.name == budget
        assert (config.vae is None) == isinstance(config.dataset, ToyConfig)
        for variant in config.report.variants.values():
            assert variant.gp is None or sizes_of_training(variant.gp) == sizes_of_training(config.gp)
            assert variant.penalty is None or variant.penalty.particles == config.penalty.particles
            assert variant.flow is None or variant.flow.epochs == config.flow.epochs
        # nobody's own folder, no account
        assert not [value for _, value in values(config) if isinstance(value, str) and Path(value).is_absolute()]
        assert config.logger.name == "none" and config.device.name == "cpu"


IMAGES = ("dsprites", "mnist", "chairs", "celeba", "latents")
COUNT = max(len(options(group)) for group in GROUPS)


@pytest.mark.parametrize("number", range(COUNT))
def test_every_option_of_every_group_composes(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen = {group: options(group)[number % len(options(group))] for group in GROUPS}
    if chosen["gp"] == "twist":  # for d of at least 3, and without a path to penalize
        chosen |= {"dataset": "dsprites", "penalty": "none"}
    if chosen["models"] == "toy":  # its few images are enough for the scores of that budget alone
        chosen["budget"] = "smoke"
    if chosen["dataset"] not in IMAGES:
        del chosen["vae"]  # of images
    if chosen["device"] == "ddp":
        chosen["logger"] = "none"  # a logger follows a training in one process
    overrides = [f"{group}={option}" for group, option in chosen.items()]
    if chosen["dataset"] == "toy":
        overrides.append("dataset.name=toy")
    if chosen["dataset"] == "array":
        np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(50, 2)))
        overrides.append(f"dataset.path={tmp_path / 'points.npy'}")
    if chosen["dataset"] == "latents":
        np.save(tmp_path / "images.npy", np.zeros((100, 32, 32)))
        overrides.append(f"dataset.path={tmp_path / 'images.npy'}")
    if chosen["dataset"] in IMAGES and chosen["gp"].startswith("toy"):  # blocks and solvers for dimension 2
        overrides.append("vae.latent_dim=2")
    config = compose("train_gp", overrides)
    named = {group: getattr(config, group).name for group in chosen if group != "paths"}
    # bnaf_authors, ffjord_mnist and ridge_small are settings of a family
    chosen["gp"] = chosen["gp"].removesuffix("_small")
    family = {g: o.partition("_")[0] if g in ("vae", "flow") else o for g, o in chosen.items()}
    assert named == {group: family[group] for group in named}, "the command line wins over the budget's own choices"


@pytest.mark.parametrize("models", options("models"))
def test_every_models_have_every_dataset(models: str) -> None:
    for dataset, like in (("rings", "toy"), ("celeba", "mnist")):
        config = compose("train_gp", [f"dataset={dataset}", f"models={models}"])
        assert (config.dataset.name, config.models.name) == (dataset, models)
        sizes = yaml.safe_load((CONFIGS / "scale" / "quick" / f"{like}.yaml").read_text())
        assert sizes_of_training(config.gp) == tuple(sizes["gp"].values()), "whatever the models"
        assert sizes["optimizer"]["gp"]["lr"] == config.optimizer.gp.lr


def test_the_frozen_models_are_apart_from_the_budget() -> None:
    for dataset in ("dsprites", "eight_gaussians"):
        quick, paper = (compose("train_gp", [f"dataset={dataset}", f"budget={b}"]) for b in ("quick", "paper"))
        assert (quick.vae, quick.flow, quick.dataset) == (paper.vae, paper.flow, paper.dataset)
        assert quick.optimizer.flow == paper.optimizer.flow and quick.optimizer.gp != paper.optimizer.gp
        assert quick.gp.epochs < paper.gp.epochs
    mixed = compose("train_gp", ["models=paper", "frozen=ours/dsprites", "schedule=paper"])
    assert mixed.models.name == "paper" and mixed.flow.epochs == 60
    assert mixed.optimizer.flow.schedule is Schedule.constant and mixed.optimizer.gp.schedule is Schedule.one_cycle


def test_rows_of_a_report_are_trained_as_the_run() -> None:
    config = compose("report", ["experiment=fig3", "gp.epochs=3", "flow.epochs=7", "penalty.particles=9"])
    variants = config.report.variants
    assert variants["ridge"].gp is not None and variants["ridge"].gp.epochs == 3
    assert variants["cpflow"].flow is not None and variants["cpflow"].flow.epochs == 7
    assert variants["gp"].penalty is not None and variants["gp"].penalty.particles == 9


def test_a_dataset_brings_the_flow_and_the_gp_flow_that_fit_it() -> None:
    config = compose("train_gp", ["dataset=two_moons", "budget=quick"])
    assert config.vae is None and config.dataset.dim == 2
    assert (config.flow.name, config.gp.name, config.penalty.name) == ("bnaf", "toy", "euler_toy")
    chosen = compose("train_gp", ["dataset=two_moons", "flow=cpflow", "gp=toy_ridge", "penalty=none"])
    assert (chosen.flow.name, chosen.gp.name, chosen.penalty.name) == ("cpflow", "toy_ridge", "none")


def test_own_points_tell_their_dimension(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    np.savez(tmp_path / "points.npz", x=points)
    np.save(tmp_path / "points.npy", points)
    for name in ("points.npy", "points.npz"):
        assert compose("train_gp", ["dataset=array", f"dataset.path={tmp_path / name}"]).dataset.dim == 3
    np.save(tmp_path / "flat.npy", points.ravel())
    (tmp_path / "text.npy").write_text("1 2 3")
    for name, said in (("flat.npy", "(150,)"), ("text.npy", "np.save"), ("nowhere.npy", "no such file")):
        with pytest.raises(Exception) as caught:
            compose("train_gp", ["dataset=array", f"dataset.path={tmp_path / name}"])
        assert said in explain(caught.value)
    with pytest.raises(Exception, match=r"dataset\.path=points\.npy"):
        compose("train_gp", ["dataset=array"])


def test_an_item_made_of_others_finds_them_as_typed() -> None:
    config = compose("report", ["experiment=table3", "budget=smoke", "seed=7"])
    parts = [sibling(config, part) for part in config.report.parts]
    assert [part.dataset.name for part in parts] == ["eight_gaussians", "two_moons"]
    assert {(part.seed, part.budget.name) for part in parts} == {(7, "smoke")}


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_package_directive_is_the_first_line(path: Path) -> None:
    """Below another comment Hydra ignores it without a word."""
    lines = path.read_text(encoding="utf-8").splitlines()
    used = [number for number, line in enumerate(lines) if "@package" in line]
    assert used in ([], [0]) and lines[0].startswith("# ")
    if path.is_relative_to(CONFIGS / "experiment"):
        assert used == [0], "an experiment sets options of other groups"


def test_a_choice_on_the_command_line_wins_over_the_budget() -> None:
    plain, chosen = compose("train_gp", ["budget=quick"]), compose("train_gp", ["gp=mlp", "budget=quick"])
    assert isinstance(plain.gp.family, DeepRidgeConfig) and isinstance(chosen.gp.family, MlpConfig)
    assert plain.optimizer.gp.schedule is chosen.optimizer.gp.schedule is Schedule.one_cycle
    assert plain.flow.training_solver is Solver.rk4 and plain.flow.divergence is Divergence.exact
    assert chosen.gp.epochs == plain.gp.epochs, "scale stays with the budget"
    free = compose("train_gp", ["optimizer=paper", "flow.divergence=hutchinson", "gp.epochs=3", "penalty=kinetic"])
    assert free.optimizer.gp.schedule is Schedule.constant and free.flow.divergence is Divergence.hutchinson
    assert free.gp.epochs == 3 and free.penalty.kind is PenaltyKind.kinetic and free.budget.name == "quick"


def test_a_gp_flow_brings_its_descent_and_its_multiple_of_the_rate() -> None:
    mlp, ridge = (compose("train_gp", [f"gp={name}"]) for name in ("mlp", "ridge"))
    assert (mlp.gp.descent, ridge.gp.descent) == (Descent.adam, Descent.muon)
    assert (mlp.gp.control_variate, ridge.gp.control_variate) == (False, True), "the paper's descends on the cost"
    assert mlp.optimizer == ridge.optimizer and ridge.gp.lr_factor > 1, "scale stays with the budget"
    plain, found = (gp_optimizer_settings(each.gp, each.optimizer.gp) for each in (mlp, ridge))
    assert plain == adam_settings(mlp.optimizer.gp), "a setting that came later must not train anew what is Adam's"
    assert found == plain | {"lr": plain["lr"] * ridge.gp.lr_factor, "descent": "muon"}
    twice = compose("train_gp", ["gp=ridge", "gp.descent=adam", "gp.lr_factor=1"])
    assert gp_optimizer_settings(twice.gp, twice.optimizer.gp) == plain


def test_the_paper_budget_is_the_papers_own_settings() -> None:
    config = compose("train_gp", ["budget=paper", "models=paper", "penalty=euler_latent"])
    assert config.gp.family == MlpConfig([50, 50, 50], None) and config.gp.n_steps == 15
    assert config.optimizer.gp.schedule is Schedule.constant and config.penalty.halvings == 5
    assert config.flow.training_solver is Solver.dopri5 and config.flow.hidden == [64, 64]
    for experiment, epochs, steps, lr in (("fig3", 2000, 20, 1e-2), ("fig4", 1000, 15, 5e-3)):
        toy = compose("report", ["budget=paper", f"experiment={experiment}"])
        gp = toy.report.variants["gp"].gp
        assert (gp.epochs, gp.n_steps, gp.batch_size, toy.optimizer.gp.lr) == (epochs, steps, 1000, lr)
        assert gp.chart.value == "cube" and gp.family == MlpConfig([15, 15], 1) and gp.source.value == "data"


MISTAKES: dict[str, list[str]] = {
    # override: what the message must say
    "penalty.wieght=1": ["penalty.wieght", "kind, weight, halvings", "Did you mean 'weight'?"],
    "+penalty.wieght=1": ["penalty.wieght", "kind, weight, halvings", "Did you mean 'weight'?"],
    "optimizer.gp.learning_rate=1": ["learning_rate", "lr, schedule, weight_decay, gradient_clip"],
    "penatly=none": ["penatly", "dataset, flow, gp, penalty", "Did you mean 'penalty'?"],
    "penalty.weight=much": ["penalty.weight", "'much'", "Float"],
    "gp.n_steps=1.5": ["gp.n_steps", "1.5", "Integer"],
    "gp=mlp gp.family.hidden=50": ["gp.family.hidden", "list"],
    "gp=mlp gp.family.width=50": ["gp.family.width", "hidden, n_blocks"],  # of another family
    "gp.mlp.hidden=[50]": ["keys of this group", "gp=mlp", "gp.family.*"],  # as it was once
    "gp.velocity=ridge": ["keys of this group", "gp=ridge"],
    "penalty=eulr": ["penalty/eulr", "euler_latent", "euler_toy", "kinetic", "none"],
    "experiment=table9": ["experiment/table9", "table1"],
    "gp.chart=cubes": ["gp.chart", "'cubes'", "cube, gaussian, direct"],
    "evaluate.regressor=tree": ["evaluate.regressor", "'tree'", "lasso, forest"],
    "vae.latent_dim=1": ["dataset.dim", "got 1", "vae.latent_dim"],
}


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistake_fails_in_composition_and_names_the_options(override: str) -> None:
    with pytest.raises(Exception) as caught:
        compose("train_gp", override.split())
    message = explain(caught.value)
    assert not [part for part in MISTAKES[override] if part not in message], message
    assert "use +" not in message, "Hydra's advice would hide the mistake"


Change = Callable[[Config], None]


def put(name: str, value: Any) -> Change:
    """Set an option by its name."""

    def change(config: Config) -> None:
        *groups, last = name.split(".")
        owner: Any = config
        for group in groups:
            owner = owner[group] if isinstance(owner, dict) else getattr(owner, group)
        assert hasattr(owner, last)
        setattr(owner, last, value)

    return change


POSITIVE = [
    "vae.epochs", "flow.epochs", "flow.batch_size", "flow.training_steps", "flow.tolerance", "flow.n_blocks",
    "gp.epochs", "gp.epochs_penalized", "gp.batch_size", "gp.n_validation", "gp.n_steps", "gp.lr_factor",
    "gp.logdet_tolerance",
    "optimizer.vae.lr", "optimizer.flow.lr", "optimizer.gp.lr", "evaluate.n_data", "evaluate.n_exact",
    "evaluate.certificate_batches", "evaluate.n_dci_train", "evaluate.n_dci_test",
    "bounds.n_train", "bounds.batch_size", "bounds.lr",
]  # fmt: skip

VIOLATIONS: list[tuple[str, str, Any, list[str]]] = [
    # rule, option, value, what the message must name besides the option
    ("dimensions_agree", "dataset.dim", 5, ["vae.latent_dim", "5 and 10"]),
    ("blocks_fit", "gp.family.n_blocks", 10, ["1..9", "got 10", "gp.family.n_blocks=null"]),
    *(("sizes_positive", name, value, [f"got {value}"]) for name in POSITIVE for value in (0, -1)),
    ("sizes_positive", "flow.hidden", [64, 0], ["got 0"]),
    ("sizes_positive", "gp.family.hidden", [], ["list of positive numbers"]),
    ("schedules_complete", "optimizer.flow.schedule", Schedule.points, ["with 0 points", "step: factor"]),
    ("schedules_complete", "optimizer.flow.points", {0: 1.0}, ["with 1 points"]),
    ("ceiling_rises", "vae.ceiling", {9: 1.0, 3: 1.0}, ["rising order", "++vae.ceiling={"]),
    ("ceiling_rises", "vae.ceiling", {0: 0.0}, ["above 0"]),
    ("batches_fit", "gp.n_train", 100, ["gp.batch_size", "gp.batch_size=100"]),
    ("batches_fit", "vae.batch_size", 2, ["at least 3", "got 2"]),
    ("certificate_fits", "evaluate.certificate_batch", 1, ["evaluate.n_prior", "got 1"]),
    ("split_fits", "evaluate.n_dci_test", None, ["n_dci_test=10000"]),
    ("dimensions_agree", "vae", None, ["vae=btcvae"]),
    ("certificate_fits", "evaluate.n_prior", 100, ["evaluate.certificate_batch", "2..100"]),
    ("grid_refinable", "gp.max_steps", 7, ["gp.n_steps", "7 and 8", "gp.max_steps=8"]),
    ("split_fits", "dataset.n_images", 49_999, ["evaluate.n_dci_train", "evaluate.n_dci_test", "50000", "49999"]),
    ("penalty_consistent", "penalty.kind", PenaltyKind.none, ["penalty.weight=5e-05", "euler_toy"]),
    ("penalty_consistent", "penalty.weight", -1.0, ["weight >= 0", "-1.0"]),
    ("penalty_consistent", "penalty.halvings", -1, ["halvings >= 0"]),
    ("penalty_consistent", "penalty.probes", 0, ["probes >= 1"]),
    ("penalty_consistent", "penalty.particles", 0, ["particles >= 1"]),
    ("seeds_differ", "report.seeds", [1, 2, 1], ["[1, 2, 1]", "report.seeds=[]"]),
    ("seeds_in_range", "report.seeds", [-1], ["report.seeds[0]", "got -1"]),
    ("seeds_in_range", "seed", 2**32, ["0..4294967295"]),
    ("device_known", "device.accelerator", "gup", ["cpu, gpu, auto"]),
    ("device_known", "device.devices", 2, ["device=ddp 'device.devices=2'"]),
    ("rates_not_negative", "optimizer.gp.weight_decay", -1.0, ["at least 0"]),
    ("tolerances_reachable", "flow.tolerance", 1e-9, ["flow.tolerance=1e-5"]),
    ("grid_shiftable", "flow.training_solver", Solver.dopri5, ["flow.shifted_grid", "got dopri5"]),
    ("logger_fits", "logger.mode", "sometimes", ["auto, online, offline", "'sometimes'"]),
    ("logger_fits", "logger.figures", -1, ["found -1", "logger.figures=5"]),
    (
        "penalty_consistent",
        "report.variants.gp_euler.penalty.probes",
        0,
        ["report.variants.gp_euler.penalty", "probes >= 1"],
    ),
    ("families_fit", "gp.family", DeepRidgeConfig(8, 8), ["direct", "got cube", "gp=ridge"]),
    ("families_fit", "gp.family", SpectralConfig(8, 15), ["got 10", "gp=mlp"]),
    ("penalty_has_a_path", "gp.family", TwistConfig(12, 64), ["penalty=euler_latent", "penalty=none"]),
    ("cost_defined", "cost", LpCost("lp", 1.0), ["got 1", "cost=l1"]),
    ("cost_defined", "cost", L1Cost("l1", 0.5, 0.7), ["cost.end > 0", "0.5 and 0.7"]),
    ("device_present", "device.accelerator", "gpu", ["device=gpu", "device=cpu"]),
    ("jobs_fit", "report.jobs", 0, ["found 0", "report.jobs=1"]),
]


@pytest.fixture(scope="module")
def good() -> Config:
    """Breaks no rule, and uses as many options as rules look at."""
    return compose(
        "train_gp", ["experiment=table1", "budget=quick", "gp=mlp", "penalty=euler_latent", "flow.shifted_grid=true"]
    )


@pytest.mark.parametrize(("rule", "name", "value", "parts"), VIOLATIONS, ids=lambda value: str(value)[:40])
def test_a_rule_fails_on_a_config_that_breaks_it_alone(
    rule: str, name: str, value: Any, parts: list[str], good: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check(good)
    config = copy.deepcopy(good)
    put(name, value)(config)
    broken = {}
    for each in RULES:
        try:
            check(config, [each])
        except BadConfig as error:
            broken[each.__name__] = str(error)
    assert list(broken) == [rule]
    assert name.rsplit(".", 1)[-1] in broken[rule] or f"{name.split('.')[0]}=" in broken[rule], "it names the option"
    assert not [part for part in parts if part not in broken[rule]], broken[rule]
    with pytest.raises(BadConfig):
        check(config)


def test_rules_of_two_dimensions_and_of_flows_without_an_inverse() -> None:
    with pytest.raises(BadConfig, match=r"gp\.chart=cube or gaussian, got direct\. Type gp\.chart=gaussian"):
        compose("train_gp", ["dataset=two_moons", "gp=toy_spectral", "gp.chart=direct"])
    with pytest.raises(BadConfig, match=r"dataset\.dim of 2, got 10\. Take points of two columns"):
        compose("train_gp", ["dataset=dsprites", "gp=toy_spectral"])
    with pytest.raises(BadConfig, match=r"at least 3, got 2.*gp=toy_ridge"):
        compose("train_gp", ["dataset=two_moons", "gp=twist", "penalty=none"])
    with pytest.raises(BadConfig, match=r"flow\.inverse=bisection, or gp\.source=data"):
        compose("train_gp", ["dataset=two_moons", "flow.inverse=none", "gp.source=prior"])
    with pytest.raises(BadConfig, match=r"report\.variants\.ridge\.gp\.n_steps"):
        compose("report", ["experiment=fig3", "report.variants.ridge.gp.n_steps=0"])


def test_rules_of_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = ["device=ddp", "device.accelerator=cpu"]
    assert compose("train_gp", on_cpu).device.processes == 2
    with pytest.raises(BadConfig, match=r"device\.devices=3 processes, and flow\.batch_size=1024.*batch_size=1023"):
        compose("train_gp", [*on_cpu, "device.devices=3"])
    with pytest.raises(BadConfig, match=r"a number of at least 1.*found 0"):
        compose("train_gp", [*on_cpu, "device.devices=0"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BadConfig, match=r"2 processes a GPU, and torch finds 1"):
        compose("train_gp", ["device=ddp"])
    assert compose("train_gp", ["device=ddp", "device.devices=[0]"]).device.processes == 1


@pytest.mark.parametrize("launcher", options("launcher"))
def test_every_launcher_composes_and_base_needs_none_of_them(launcher: str) -> None:
    assert compose("evaluate", [f"launcher={launcher}"]) == dataclasses.replace(
        compose("evaluate"), typed=[f"launcher={launcher}"]
    )


@pytest.mark.parametrize("sweep", options("sweep"))
def test_a_sweep_asks_for_options_that_exist(sweep: str) -> None:
    config = compose("evaluate", [f"sweep={sweep}", "budget=quick"])
    assert config.sweep is not None and config.sweep.name == sweep and config.upstream is Upstream.make
    assert set(config.sweep.metrics) <= set(METRICS)
    params = yaml.safe_load((CONFIGS / "sweep" / f"{sweep}.yaml").read_text())["hydra"]["sweeper"]["params"]
    assert {config.sweep.x, config.sweep.lines, "gp.seed"} == set(params), "the plot shows all that varies"
    names = {name for name, _ in values(config)}
    assert set(params) <= names
    assert config.dataset.name == "two_moons", "released flows exist"
    other = compose("evaluate", [f"sweep={sweep}", "dataset=eight_gaussians", "gp=toy_ridge"])
    assert (other.dataset.name, other.gp.name) == ("eight_gaussians", "toy_ridge")


def test_pairs_are_compared_at_the_same_number_of_steps() -> None:
    for n in (1000, 5000, 20_000, 80_000):
        gp = compose("evaluate", ["sweep=pairs", f"gp.n_train={n}", "budget=quick"]).gp
        assert gp.epochs * (gp.n_train // gp.batch_size) == 2000


def test_every_rule_is_shown_to_fail() -> None:
    shown = {violation[0] for violation in VIOLATIONS} | {"prior_samples_available", "processes_fit"}
    assert {rule.__name__ for rule in RULES} == shown


@pytest.mark.parametrize("value", [3, 2_000_000])
def test_edges_of_rules_are_allowed(value: int, good: Config) -> None:
    config = copy.deepcopy(good)
    for name in ("gp.batch_size", "gp.n_train"):
        put(name, value)(config)
    put("vae.batch_size", 3)(config)
    put("gp.max_steps", config.gp.n_steps)(config)
    put("dataset.n_images", 50_000)(config)
    put("gp.family.n_blocks", 9)(config)
    put("evaluate.certificate_batch", config.evaluate.n_prior)(config)
    check(config)


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("HYDRA_FULL_ERROR", None)
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_script_ends_a_misspelt_option_with_one_message(tmp_path: Path) -> None:
    done = run([str(ROOT / "scripts" / "train_gp.py"), "penalty.wieght=1"], tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert "penalty.wieght" in done.stderr and "name, kind, weight, halvings" in done.stderr
    assert "Did you mean 'weight'?" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_multirun_over_the_penalty_weight(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from gpot.entry import entry\n"
        "@entry('train_gp')\n"
        "def main(config):\n"
        "    print('weight', config.penalty.weight, config.seed)\n"
        "main()\n"
    )
    done = run(["app.py", "-m", "penalty=euler_latent", "penalty.weight=1e-5,5e-5", "seed=0,1"], tmp_path)
    assert done.returncode == 0, done.stderr
    shown = [line for line in done.stdout.splitlines() if line.startswith("weight")]
    assert shown == ["weight 1e-05 0", "weight 1e-05 1", "weight 5e-05 0", "weight 5e-05 1"]


def test_the_default_cost_leaves_every_key_as_it_was() -> None:
    plain, l1, lp, mahalanobis = (
        Pipeline(compose("train_gp", ["dataset=two_moons", *typed])).gp
        for typed in ([], ["cost=l1"], ["cost=lp", "cost.p=4"], ["cost=mahalanobis"])
    )
    assert "cost" not in plain.settings
    assert l1.settings["cost"] == {"kind": "l1", "start": 0.5, "end": 0.01}
    assert lp.settings["cost"] == {"kind": "lp", "p": 4.0}
    assert len({stage.key for stage in (plain, l1, lp, mahalanobis)}) == 4
    for row in (Row.flow, Row.rotation):  # what a table says of a row is of the run's cost
        configs = [compose("evaluate", ["dataset=two_moons", *typed]) for typed in ([], ["cost=l1"])]
        assert len({Pipeline(config).evaluation(row).key for config in configs}) == 2
