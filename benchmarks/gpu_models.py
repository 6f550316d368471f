r"""The frozen models of dSprites on one GPU in at most ten minutes: the VAE as one CUDA graph a step, then the rest.

    python benchmarks/gpu_models.py [--out outputs/bench/gpu_models] [--seconds 540] [--models ours]

1. All images are drawn (on the CPU, once), packed to bits and kept on the device. A step gathers its batch there,
   unpacks it, and does the forward and backward pass of the beta-TCVAE and Adam's step, all in one graph that is
   captured once and replayed. The objective, its weights at each step, the rate, the batch and the number of steps are
   those of `vae` and `optimizer.vae` of the models that are asked for (configs/frozen); the order of the images and the
   noise are drawn on the device, so weights are not those of a training on a CPU.
2. `scripts/report.py experiment=table1 device=gpu`, with that VAE, in the seconds that are left; the seconds of each
   stage are read from the manifests of what it made.

Writes OUT/vae.safetensors (for `vae.weights=`; also if time was up before the last step), and OUT/result.json: images a
second, KL per axis and reconstruction on 4,096 images in nats, seconds per stage. Without a GPU nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.measure import write_result  # noqa: E402
from gpot.config.choices import Precision  # noqa: E402
from gpot.config.compose import compose  # noqa: E402
from gpot.config.schema import OptimizerConfig, VaeConfig  # noqa: E402
from gpot.data.images import DSpritesImages, image_index  # noqa: E402
from gpot.training.schedule import rate_factor  # noqa: E402
from gpot.training.vae import kl_per_axis, weights_at  # noqa: E402
from third_party.btcvae import BetaTCVAE, annealing, btcvae_loss  # noqa: E402

WARM_UP, HELD_OUT, REPLAYS = 3, 4096, 1000  # REPLAYS: steps between two looks at the clock


def schedule(vae: VaeConfig, optimizer: OptimizerConfig, steps: int) -> Tensor:
    """(steps, 5): learning rate, alpha, beta, gamma and the annealing of each step."""
    factor = rate_factor(optimizer, steps)
    rows = [
        (optimizer.lr * factor(step), *weights_at(step + 1, vae), annealing(step + 1, vae.annealing_steps))
        for step in range(steps)
    ]
    return torch.tensor(rows)


@dataclass
class Training:
    """A VAE, the packed images and all that a step reads, on one device.

    `position` is the step within the pass whose `order` of rows is there; `count` the step of the training.
    """

    network: BetaTCVAE
    images: Tensor  # packed
    unpack: Callable[[Tensor], tuple[Tensor]]
    table: Tensor
    vae: VaeConfig

    def __post_init__(self) -> None:
        device = self.images.device
        self.count, self.position = (torch.zeros(1, dtype=torch.long, device=device) for _ in range(2))
        self.order = torch.arange(len(self.images), device=device)
        self.within = torch.arange(self.vae.batch_size, device=device)
        self.rate = torch.zeros((), device=device)
        graphs = device.type == "cuda"
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.rate, capturable=graphs, foreach=graphs)
        half = self.vae.precision is Precision.bfloat16
        self.precision = torch.autocast(device.type, torch.bfloat16, enabled=half, cache_enabled=False)

    @property
    def batches(self) -> int:
        """Of a pass over the images."""
        return len(self.images) // self.vae.batch_size

    def new_order(self) -> None:
        self.order.copy_(torch.randperm(len(self.images), device=self.images.device))
        self.position.zero_()

    def step(self) -> None:
        """One step, without a word from the host: it can be captured."""
        rate, alpha, beta, gamma, anneal = self.table.index_select(0, self.count).squeeze(0).unbind()
        self.rate.copy_(rate)
        rows = self.order.index_select(0, self.position * self.vae.batch_size + self.within)
        (x,) = self.unpack(self.images.index_select(0, rows))
        with self.precision:
            outputs = self.network(x)
        logits, mean, log_variance, z = (tensor.float() for tensor in outputs)
        terms = btcvae_loss(
            logits, x, mean, log_variance, z, dataset_size=len(self.images),
            alpha=alpha, beta=beta, gamma=gamma, anneal=anneal, estimator=self.vae.estimator,  # type: ignore[arg-type]
        )  # fmt: skip
        self.optimizer.zero_grad(set_to_none=False)
        terms.total.backward()
        self.optimizer.step()
        self.count += 1
        self.position += 1

    def capture(self) -> torch.cuda.CUDAGraph:
        """The step as a graph. What the steps before a capture did is undone."""
        before = {name: value.clone() for name, value in self.network.state_dict().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # on another stream, so that libraries have their workspaces
            for _ in range(WARM_UP):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        with torch.no_grad():
            self.network.load_state_dict(before)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()
        self.count.zero_()
        self.position.zero_()
        return graph

    @torch.no_grad()
    def measured(self) -> dict[str, Any]:
        """KL per axis, largest first, and the reconstruction on some of the images, nats."""
        rows = torch.linspace(0, len(self.images) - 1, min(HELD_OUT, len(self.images)), device=self.images.device)
        (x,) = self.unpack(self.images[rows.long()])
        logits, mean, log_variance, _ = self.network(x)
        kl = kl_per_axis(mean, log_variance)
        cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        return {"kl": sorted(kl.tolist(), reverse=True), "reconstruction": cross_entropy.item()}


def trained(training: Training, seconds: float) -> dict[str, Any]:
    """All steps of the table, or those that the seconds allow."""
    steps, started = len(training.table), time.monotonic()
    graph = training.capture()
    captured, done = time.monotonic(), 0
    while done < steps:
        if done % training.batches == 0:
            training.new_order()
        some = min(REPLAYS, steps - done, training.batches - done % training.batches)
        for _ in range(some):
            graph.replay()
        torch.cuda.synchronize()
        done += some
        if time.monotonic() - started > seconds:
            break
        print(f"step {done:,} of {steps:,}, {time.monotonic() - started:.0f} s", end="\r", flush=True)
    spent = time.monotonic() - captured
    return {
        "stage": "vae", "seconds": spent, "capture_seconds": captured - started, "steps": done, "steps_asked": steps,
        "images_per_second": done * training.vae.batch_size / spent, **training.measured(),
    }  # fmt: skip


def stages(folder: Path, seconds: float, models: str) -> list[dict[str, Any]]:
    """Seconds of each stage of Table 1 with the VAE of `folder`, as far as they were done in time."""
    store = folder / "artifacts"
    command = [
        sys.executable, str(ROOT / "scripts" / "report.py"), "experiment=table1", f"models={models}", "device=gpu",
        "upstream=make", f"vae.weights={folder / 'vae.safetensors'}", f"paths.artifacts={store}",
        f"paths.report={folder / 'report'}",
    ]  # fmt: skip
    print(" ".join(command), flush=True)
    try:
        code = subprocess.run(command, cwd=ROOT, timeout=seconds, check=False).returncode
        ended = "whole" if code == 0 else f"exit status {code}"
    except subprocess.TimeoutExpired:
        ended = f"stopped after {seconds:.0f} s; the same command goes on"
    manifests = [json.loads(path.read_text()) for path in sorted(store.glob("*/*/manifest.json"))]
    found = [{"stage": m["stage"], "key": m["key"], "seconds": m["duration"]} for m in manifests]
    return [*found, {"stage": "table1", "ended": ended}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/gpu_models"))
    parser.add_argument("--seconds", type=float, default=540.0, help="of all; what is not done then is left")
    parser.add_argument("--models", default="ours", help="whose settings: a name of configs/models")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(
            "benchmarks/gpu_models.py trains on a GPU, and torch finds none here; run it where "
            "torch.cuda.is_available() is true, or train on this machine: python scripts/train_vae.py pretrained=null"
        )
    started, out = time.monotonic(), options.out.resolve()
    config = compose("train_vae", ["dataset=dsprites", f"models={options.models}"])
    assert config.vae is not None
    torch.manual_seed(config.seed)
    source = DSpritesImages(None)
    bits = source.pixels(image_index(None, source))
    drawn = time.monotonic() - started
    steps = config.vae.epochs * (len(bits) // config.vae.batch_size)
    table = schedule(config.vae, config.optimizer.vae, steps).cuda()
    training = Training(BetaTCVAE().cuda(), bits.cuda(), source.unpack, table, config.vae)
    rows = [{"stage": "images", "seconds": drawn}, trained(training, options.seconds - drawn)]
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.cpu() for name, value in training.network.state_dict().items()}, out / "vae.safetensors")
    device = torch.cuda.get_device_name()
    write_result(out / "result.json", "gpu_models", rows, torch.get_num_threads(), models=options.models, device=device)
    rows += stages(out, options.seconds - (time.monotonic() - started), options.models)
    write_result(out / "result.json", "gpu_models", rows, torch.get_num_threads(), models=options.models, device=device)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
