r"""Peers on a known optimum: maps learned from samples of x alone, with equal CPU seconds, each from its own package.

    python benchmarks/truth_peers.py PEER [--dim 2 8 32] [--seconds 15 60] [--out outputs/bench/truth_peers.json]
    python benchmarks/truth_peers.py --picture docs/truth_peers.png    # draws the rows of the result; trains nothing

x = grad u0(z0) with z0 ~ N(0, I) (:mod:`gpot.maths.known_truth`); the optimal map from the law of x to N(0, I) takes
grad u0(z0) to z0. Everyone gets the same 65,536 samples of x and as many Gaussian draws as it asks for, and is scored
on the same 4,096 held-out x by L2-UVP = 100 E|T(x) - z0|^2 / d. Each of --seconds is a training of its own, whose rate
falls to 0 at its end: a curve of what a time is good for. A result is added to the rows of --out, in the place of an
earlier one of the same peer, dimension and time. Processor seconds with one thread, compilation included, and imports
not.

PEER, its package, and all that was tuned (settings tried; nobody got more):
  gpot      this package with zuko: a neural spline flow of standardized x by maximum likelihood in .6 of the time, then
            that of gpot.fit(flow, x)
  zuko      that flow alone, trained for the whole of the time
  cpflow    third_party.cpflow, ours after huang2021: the gradient of a convex potential by maximum likelihood
  torchcfm  OT-CFM (tong2024): its ExactOptimalTransportConditionalFlowMatcher, MLP of its package, minibatches of 256,
            an Euler integration of 50 steps from x to z
  ott       ott-jax: ExpectileNeuralDual (ENOT), its default networks and cost
  ott-dual  ott-jax: W2NeuralDual, its default networks
  ott-semi  ott-jax: SemidiscreteSolver, from x to 4,096 Gaussian points, entropic (a hundredth of the mean cost, its
            example's Adam with averaging); its map is that of the dual potential
  otflow    torchflows: OTFlowBijection with its penalties of cost and of Hamilton-Jacobi-Bellman, by maximum likelihood
Each has its package's documented example as its setting, and one learning rate, 1e-3; where --rate is given several
times, the better one is kept, and all are in the result. Environment of its own: pip install --no-deps zuko
torchcfm torchflows, and pip install 'ott-jax[neural]', beside requirements.lock.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.measure import write_result  # noqa: E402
from benchmarks.truth import MAX_STEPS, TOLERANCE, step_seconds  # noqa: E402
from gpot.evaluation.fidelity import Guard  # noqa: E402
from gpot.flows.adapters import adapt  # noqa: E402
from gpot.flows.base import FrozenFlow  # noqa: E402
from gpot.gp.rotation import fit_rotation  # noqa: E402
from gpot.library.families import family, training_of  # noqa: E402
from gpot.library.loop import descend as gp_descend  # noqa: E402
from gpot.library.pairs import from_data  # noqa: E402
from gpot.maths.convex_network import ConvexNetwork  # noqa: E402
from gpot.maths.costs import ControlledEuclidean  # noqa: E402
from gpot.maths.known_truth import POTENTIALS, excess_cost, unexplained_variance  # noqa: E402

N_TRAIN, HELD_OUT = 65_536, 4096
FLOW_SHARE = 0.6  # of the seconds, for the flow that gpot is handed
Map = Callable[[Tensor], Tensor]


def descend(parameters: list[Any], loss: Callable[[Tensor], Tensor], x: Tensor, rate: float, until: float) -> int:
    """Adam with a cosine to 0 over the processor time, on batches of 512 of x. Returns: the steps."""
    optimizer, start, steps = torch.optim.Adam(parameters, lr=rate), time.process_time(), 0
    while (now := time.process_time()) < until:
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + np.cos(np.pi * (now - start) / (until - start)))
        value = loss(x[torch.randint(len(x), (512,))])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        steps += 1
    return steps


def spline_flow(x: Tensor, rate: float, until: float) -> tuple[Any, int]:
    """After an affine map that standardizes x, since outside a box its splines are the identity."""
    import zuko

    affine = zuko.flows.UnconditionalTransform(
        torch.distributions.AffineTransform, -x.mean(0) / x.std(0), 1.0 / x.std(0), event_dim=1, buffer=True
    )
    splines = zuko.flows.NSF(x.shape[1], transforms=3, hidden_features=(64, 64))
    flow = zuko.flows.Flow([affine, *splines.transform.transforms], splines.base)
    return flow, descend(list(flow.parameters()), lambda rows: -flow().log_prob(rows).mean(), x, rate, until)


def gpot_after_zuko(x: Tensor, rate: float, seconds: float) -> tuple[Map, dict[str, Any]]:
    """As `gpot.fit(flow, x)` does it, on processor time: pairs x, f(x), rotation, its default field."""
    start, dim = time.process_time(), x.shape[1]
    flow, steps = spline_flow(x, rate, start + FLOW_SHARE * seconds)
    frozen = FrozenFlow(adapt(flow, dim=dim), graph=True)
    pairs = from_data(frozen, x, 0)
    gp = family("auto", dim)
    gp.set_rotation(fit_rotation(pairs.x, pairs.z))
    usual, cost = training_of(gp), ControlledEuclidean.of(pairs.x)
    each, left = step_seconds(gp, pairs, usual.batch), seconds - (time.process_time() - start)
    training = dataclasses.replace(usual, steps=max(20, int(left / each)), pairs=len(pairs.x))
    until, draws = time.process_time() + left, torch.Generator().manual_seed(0)
    guard = Guard(gp, TOLERANCE, MAX_STEPS)
    course = gp_descend(gp, pairs, cost, guard, training, draws, until, False, time.process_time, patience=None)
    return (lambda rows: gp.transport(frozen.transform(rows))), {"steps": steps, "gp_steps": course.steps}


def zuko_alone(x: Tensor, rate: float, seconds: float) -> tuple[Map, dict[str, Any]]:
    flow, steps = spline_flow(x, rate, time.process_time() + seconds)
    return (lambda rows: flow().transform(rows)), {"steps": steps}


def cpflow(x: Tensor, rate: float, seconds: float) -> tuple[Map, dict[str, Any]]:
    from gpot.maths.transport import gaussian_log_density
    from third_party.cpflow import CPFlow

    flow = CPFlow(x.shape[1], width=64, depth=3, n_blocks=1)

    def loss(rows: Tensor) -> Tensor:
        z, log_det = flow(rows, log_det="exact")
        return -(gaussian_log_density(z) + log_det).mean()

    with torch.no_grad():
        flow(x[:1024])
    steps = descend(list(flow.parameters()), loss, x, rate, time.process_time() + seconds)
    return (lambda rows: flow(rows)[0]), {"steps": steps}


def ot_cfm(x: Tensor, rate: float, seconds: float) -> tuple[Map, dict[str, Any]]:
    from torchcfm.conditional_flow_matching import ExactOptimalTransportConditionalFlowMatcher
    from torchcfm.models.models import MLP

    matcher, net = ExactOptimalTransportConditionalFlowMatcher(sigma=0.0), MLP(dim=x.shape[1], w=64, time_varying=True)

    def loss(rows: Tensor) -> Tensor:
        rows = rows[:256]
        t, xt, ut = matcher.sample_location_and_conditional_flow(rows, torch.randn_like(rows))
        return ((net(torch.cat([xt, t[:, None]], dim=1)) - ut) ** 2).mean()

    steps = descend(list(net.parameters()), loss, x, rate, time.process_time() + seconds)

    def transport(rows: Tensor) -> Tensor:
        for k in range(50):
            rows = rows + net(torch.cat([rows, torch.full((len(rows), 1), k / 50)], dim=1)) / 50
        return rows

    return transport, {"steps": steps}


class TimeOver(Exception):
    """Raised where a peer asks for more data than its processor time allows."""


def _batches(draw: Callable[[], Any], until: float, seen: list[int]) -> Any:
    while True:
        if time.process_time() > until:
            raise TimeOver
        seen[0] += 1
        yield draw()


def _ott(solver: Any, x: Tensor, seconds: float) -> tuple[Map, dict[str, Any]]:
    """Trained until the time is over: its data end then, and what it holds is its map."""
    import jax.numpy as jnp

    rng, data, size, seen, until = np.random.default_rng(0), x.numpy(), 1024, [0], time.process_time() + seconds

    def source() -> Any:
        return jnp.asarray(data[rng.integers(len(data), size=size)])

    def target() -> Any:
        return jnp.asarray(rng.standard_normal((size, x.shape[1])), dtype=jnp.float32)

    with contextlib.suppress(TimeOver):
        solver(*(_batches(draw, until, seen) for draw in (source, target, source, target)))
    potentials = solver.to_dual_potentials()

    def transport(rows: Tensor) -> Tensor:
        return torch.from_numpy(np.array(potentials.transport(jnp.asarray(rows.numpy()))))

    return transport, {"steps": seen[0] // 2}


def ott_enot(x: Tensor, rate: float, seconds: float) -> tuple[Map, dict[str, Any]]:
    import optax
    from ott.neural.methods.expectile_neural_dual import ExpectileNeuralDual

    adams = [optax.adam(rate, b1=0.9, b2=0.9) for _ in range(2)]
    solver = ExpectileNeuralDual(
        x.shape[1], optimizer_f=adams[0], optimizer_g=adams[1], num_train_iters=10**9, valid_freq=10**9, log_freq=10**9
    )
    return _ott(solver, x, seconds)


def ott_dual(x: Tensor, rate: float, seconds: float) -> tuple[Map, dict[str, Any]]:
    import optax
    from ott.neural.methods.neuraldual import W2NeuralDual

    adams = [optax.adam(rate, b1=0.5, b2=0.9) for _ in range(2)]
    solver = W2NeuralDual(
        x.shape[1], optimizer_f=adams[0], optimizer_g=adams[1], num_train_iters=10**9, valid_freq=10**9, log_freq=10**9
    )
    return _ott(solver, x, seconds)


def ott_semidiscrete(x: Tensor, rate: float, seconds: float) -> tuple[Map, dict[str, Any]]:
    """Its own loop over steps, in parts, until the time is over."""
    import jax
    import jax.numpy as jnp
    import optax
    from ott.geometry.semidiscrete_pointcloud import SemidiscretePointCloud
    from ott.problems.linear.semidiscrete_linear_problem import SemidiscreteLinearProblem
    from ott.solvers.linear.semidiscrete import SemidiscreteSolver

    data, start, part = jnp.asarray(x.numpy()), time.process_time(), 500
    points = jnp.asarray(np.random.default_rng(0).standard_normal((4096, x.shape[1])), dtype=jnp.float32)

    def source(key: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
        return data[jax.random.randint(key, (shape[0],), 0, len(data))].astype(dtype or data.dtype)

    cloud = SemidiscretePointCloud(source, points, epsilon=0.01, relative_epsilon="mean")
    problem, done, potential = SemidiscreteLinearProblem(cloud), 0, None
    solver = SemidiscreteSolver(
        num_iterations=part, batch_size=256, optimizer=optax.adam(rate), error_eval_every=part, threshold=0.0
    )
    while time.process_time() - start < seconds:
        result = solver(jax.random.key(done), problem, potential)
        potential, done = result.g, done + part
    moved = jax.jit(result.to_dual_potentials().transport)
    return (lambda rows: torch.from_numpy(np.array(moved(jnp.asarray(rows.numpy()))))), {"steps": done}


def ot_flow(x: Tensor, rate: float, seconds: float) -> tuple[Map, dict[str, Any]]:
    from torchflows.bijections.continuous.otflow import OTFlowBijection
    from torchflows.flows import Flow

    flow = Flow(OTFlowBijection(event_shape=(x.shape[1],)))

    def loss(rows: Tensor) -> Tensor:
        z, log_det, *penalized = flow.bijection.forward(rows, return_aux=True)
        penalties = [-each for each in penalized]  # it integrates them backward in time: they come out negative
        return -(flow.base_log_prob(z) + log_det).mean() + flow.bijection.regularization(*penalties)

    steps = descend(list(flow.parameters()), loss, x, rate, time.process_time() + seconds)
    flow.eval()
    return (lambda rows: flow.bijection.forward(rows)[0]), {"steps": steps}


PEERS = {
    "gpot": (gpot_after_zuko, "zuko"), "zuko": (zuko_alone, "zuko"), "cpflow": (cpflow, "torch"),
    "torchcfm": (ot_cfm, "torchcfm"), "ott": (ott_enot, "ott-jax"), "ott-dual": (ott_dual, "ott-jax"),
    "ott-semi": (ott_semidiscrete, "ott-jax"), "otflow": (ot_flow, "torchflows"),
}  # fmt: skip


def measured(peer: str, truth: ConvexNetwork, dim: int, name: str, rates: list[float], asked: float) -> dict[str, Any]:
    """The best of the learning rates: what a peer makes of the samples in a time, scored on held-out ones."""
    z0 = torch.randn(N_TRAIN + HELD_OUT, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = truth.gradient(z0).float()
    held, z_held = x[N_TRAIN:], z0[N_TRAIN:]
    tried = []
    for rate in rates:
        torch.manual_seed(0)
        start = time.process_time()
        transport, said = PEERS[peer][0](x[:N_TRAIN], rate, asked)
        seconds = time.process_time() - start
        with torch.no_grad():
            image = torch.cat([transport(rows).detach() for rows in held.split(512)]).double()
        optimal = ((held.double() - z_held) ** 2).sum(1).mean().item()
        tried.append({
            "peer": peer, "package": f"{PEERS[peer][1]} {version(PEERS[peer][1])}",
            "dim": dim, "potential": name, "rate": rate, "rates": rates, "asked": asked, "seconds": seconds,
            "uvp": unexplained_variance(image, z_held).mean().item(), **said,
            "excess_percent": 100.0 * excess_cost(truth, image, z_held).mean().item() / optimal,
            "variance": image.var(0).mean().item(),
        })  # fmt: skip
        print(json.dumps(tried[-1]), flush=True)
    return min(tried, key=lambda row: row["uvp"])


def picture(rows: list[dict[str, Any]], out: Path) -> None:
    """UVP against the processor time of a training, a panel for each dimension and a colour for each peer."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter

    times = sorted({row["asked"] for row in rows})
    dims, peers = sorted({row["dim"] for row in rows}), [peer for peer in PEERS if any(r["peer"] == peer for r in rows)]
    columns = min(4, len(dims))
    lines = -(-len(dims) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(2.9 * columns, 2.7 * lines), squeeze=False)
    for axis, dim in zip(axes.flat, dims, strict=False):
        for k, peer in enumerate(peers):
            own = sorted((r["seconds"], r["uvp"]) for r in rows if (r["peer"], r["dim"]) == (peer, dim))
            axis.plot(*zip(*own, strict=True), "o-", ms=3.5, lw=1.2, color=f"C{k}") if own else None
        axis.set(xscale="log", yscale="log", title=f"d = {dim}", xlabel="CPU seconds", ylabel="L2-UVP, %")
        axis.set_xticks(times, [f"{asked:g}" for asked in times])
        axis.xaxis.set_minor_formatter(NullFormatter())
    for axis in axes.flat[len(dims) :]:
        axis.axis("off")
    for k, peer in enumerate(peers):  # for the legend
        axes[0, 0].plot([], [], "o-", ms=3.5, lw=1.2, color=f"C{k}", label=peer)
    figure.legend(loc="lower center", ncols=len(peers), frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.12 / lines, 1, 1))
    figure.savefig(out, dpi=110)
    print(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=list(PEERS), nargs="?")
    parser.add_argument("--dim", type=int, nargs="+", default=[2])
    parser.add_argument("--seconds", type=float, nargs="+", default=[30.0])
    parser.add_argument("--rate", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--potential", default="ridges")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/truth_peers.json"))
    parser.add_argument("--picture", type=Path, help="draw the rows of --out into this file, and train nothing")
    options = parser.parse_args()
    rows = json.loads(options.out.read_text(encoding="utf-8"))["rows"] if options.out.is_file() else []
    if options.picture:
        picture(rows, options.picture)
        return
    if options.peer is None:
        parser.error("name a peer, or type --picture FILE")
    torch.set_num_threads(1)
    for dim in options.dim:
        truth = POTENTIALS[options.potential](dim, torch.Generator().manual_seed(0))
        for asked in options.seconds:
            best = measured(options.peer, truth, dim, options.potential, options.rate, asked)
            rows = [row for row in rows if _told_by(row) != _told_by(best)] + [best]
            rows.sort(key=lambda row: (row["dim"], row["asked"], row["uvp"]))
            write_result(options.out, "truth_peers", rows, 1, n_train=N_TRAIN)


def _told_by(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["peer"], row["dim"], row["asked"]


if __name__ == "__main__":
    main()
