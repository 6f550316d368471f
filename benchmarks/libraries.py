"""Flows of six libraries, each trained in a moment and handed to `gpot.fit`: density kept, round trip, cost, seconds.

    make bench-libraries    # from an installed wheel, in an empty folder
    .venv-libraries/bin/python benchmarks/libraries.py --only zuko pyro --data moons --steps 100

Needs the environment of `make test-libraries`. The gpot that is installed is measured; where none is, that of the
checkout, and the result says which. Each library gets a small flow of its own, `--epochs` steps of
maximum likelihood, and the one line that its user types. Two moons, and the thirteen columns of scikit-learn's wines.
Seconds are of the processor. A row is written as soon as it is measured, and takes the place of that of an earlier run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last, so that an installed gpot comes before that of the checkout

import torch  # noqa: E402
from sklearn.datasets import load_wine, make_moons  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import gpot  # noqa: E402
from benchmarks.measure import write_result  # noqa: E402
from gpot.maths.transport import gaussian_log_density  # noqa: E402
from gpot.progress import track  # noqa: E402

WIDTH = 32
PACKAGES = {"pyro": "pyro-ppl"}  # where the distribution has another name than the library


def zuko_flow(d: int) -> tuple[Any, Callable[[Tensor], Tensor]]:
    import zuko

    flow = zuko.flows.NSF(d, transforms=2, hidden_features=(WIDTH, WIDTH))
    return flow, lambda x: flow().log_prob(x)


def nflows_flow(d: int) -> tuple[Any, Callable[[Tensor], Tensor]]:
    from nflows import distributions, flows, transforms

    layers = [
        layer
        for _ in range(3)
        for layer in (transforms.MaskedAffineAutoregressiveTransform(d, WIDTH), transforms.ReversePermutation(d))
    ]
    flow = flows.Flow(transforms.CompositeTransform(layers), distributions.StandardNormal([d]))
    return flow, flow.log_prob


def normflows_flow(d: int) -> tuple[Any, Callable[[Tensor], Tensor]]:
    import normflows as nf

    layers = [
        layer
        for _ in range(2)
        for layer in (nf.flows.AutoregressiveRationalQuadraticSpline(d, 1, WIDTH), nf.flows.LULinearPermute(d))
    ]
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(d, trainable=True), layers)
    return flow, flow.log_prob


def pyro_flow(d: int) -> tuple[Any, Callable[[Tensor], Tensor]]:
    import pyro.distributions as dist
    from pyro.distributions import transforms

    layers = [
        layer
        for _ in range(3)
        for layer in (transforms.affine_coupling(d, hidden_dims=[WIDTH, WIDTH]), transforms.permute(d))
    ]
    flow = dist.TransformedDistribution(dist.Normal(torch.zeros(d), torch.ones(d)), layers)

    def log_prob(x: Tensor) -> Tensor:
        flow.clear_cache()
        return flow.log_prob(x)

    return flow, log_prob


def freia_flow(d: int) -> tuple[Any, Callable[[Tensor], Tensor]]:
    import FrEIA.framework as framework
    import FrEIA.modules as modules

    def subnet(i: int, o: int) -> nn.Module:
        return nn.Sequential(nn.Linear(i, WIDTH), nn.Tanh(), nn.Linear(WIDTH, o))

    flow = framework.SequenceINN(d)
    for _ in range(4):
        flow.append(modules.AllInOneBlock, subnet_constructor=subnet)

    def log_prob(x: Tensor) -> Tensor:
        z, log_det = flow(x)
        return gaussian_log_density(z) + log_det

    return flow, log_prob


def torchflows_flow(d: int) -> tuple[Any, Callable[[Tensor], Tensor]]:
    from torchflows.bijections.finite.autoregressive.architectures import RealNVP
    from torchflows.flows import Flow

    flow = Flow(RealNVP((d,), n_layers=4))
    return flow, flow.log_prob


LIBRARIES = {"zuko": zuko_flow, "nflows": nflows_flow, "normflows": normflows_flow, "pyro": pyro_flow,
             "FrEIA": freia_flow, "torchflows": torchflows_flow}  # fmt: skip


def moons() -> Tensor:
    return torch.from_numpy(make_moons(4000, noise=0.08, random_state=0)[0])


def wine() -> Tensor:
    return torch.from_numpy(load_wine().data)


DATA = {"moons": moons, "wine": wine}


def parameters(flow: Any) -> list[Tensor]:
    modules = [flow] if isinstance(flow, nn.Module) else [t for t in flow.transforms if isinstance(t, nn.Module)]
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def row(library: str, data: str, epochs: int, options: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    torch.manual_seed(0)
    x = DATA[data]()
    x = ((x - x.mean(0)) / x.std(0)).float()
    flow, log_prob = LIBRARIES[library](x.shape[1])
    optimizer = torch.optim.Adam(parameters(flow), lr=5e-3 if data == "moons" else 1e-3)
    for _ in range(epochs):
        batch = x[torch.randint(len(x), (min(500, len(x)),))]
        optimizer.zero_grad()
        (-log_prob(batch).mean()).backward()
        optimizer.step()
    if isinstance(flow, nn.Module):
        flow.eval()
    start = time.process_time()
    monge = gpot.fit(flow, progress=False, **options)
    seconds = time.process_time() - start
    report, few = monge.report(bound=False), x[:200]
    with torch.no_grad():
        theirs = log_prob(few)
        s, log_det = monge.transport(few), monge.flow(few)[1]
        z = monge.flow.transform(few)
        mine = gaussian_log_density(s) + log_det + monge.gp.exact_log_det(z)
    return {
        "library": library, "version": version(PACKAGES.get(library, library)), "data": data, "dim": x.shape[1],
        "lines": 1, "density": (mine - theirs).abs().mean().item(), "round_trip": report.round_trip,
        "before": report.before.mean, "rotation": report.rotation.mean, "after": report.after.mean,
        "after_stderr": report.after.stderr, "seconds": seconds,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/libraries.json"))
    parser.add_argument("--only", nargs="+", default=list(LIBRARIES), choices=list(LIBRARIES))
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--epochs", type=int, default=120, help="steps of the training of each flow")
    parser.add_argument("--steps", type=int, default=60, help="steps of gpot.fit; 0: its own")
    parser.add_argument("--n-prior", type=int, default=6000, help="samples of gpot.fit; 0: its own")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    options = {"steps": arguments.steps or None, "n_prior": arguments.n_prior or None}
    wheel = ROOT not in Path(gpot.__file__).parents
    scale = {"epochs": arguments.epochs, **options, "wheel": wheel, "gpot": gpot.__version__}
    measured = {(each["library"], each["data"]): each for each in _earlier(arguments.out, scale)}
    cases = [(library, data) for data in arguments.data for library in arguments.only]
    for library, data in track(cases, len(cases), "fitting flows of other libraries"):
        measured[library, data] = row(library, data, arguments.epochs, options)
        print(json.dumps(measured[library, data]), flush=True)
        rows = [measured[key] for key in ((lib, name) for name in DATA for lib in LIBRARIES) if key in measured]
        write_result(arguments.out, "libraries", rows, arguments.threads, **scale)


def _earlier(out: Path, scale: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an earlier run at the same scale."""
    if not out.is_file():
        return []
    result = json.loads(out.read_text(encoding="utf-8"))
    return result["rows"] if scale.items() <= result.items() and "note" not in result else []


if __name__ == "__main__":
    main()
