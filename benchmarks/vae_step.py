r"""Images a second of one training step of the dSprites VAE on a CPU: the network's plain form against the fast one.

    python benchmarks/vae_step.py [--out outputs/bench/vae_step.json] [--threads 1]

A step is the network on 64 images of 64 x 64, the beta-TCVAE objective, its gradient, and one step of Adam, in
float32 and with products in bfloat16 (autocast, as `vae.precision=bfloat16`; it is slow where a CPU has no unit for
it). `plain` is `BetaTCVAE.forward`, `fast` is :func:`third_party.btcvae.training_forward`. Seconds are measured as
`benchmarks/gp_step.py` does, each form and precision in a process of its own: once as it is, and once with glibc's
allocator told to keep what is freed (the variables of `KEEP`; elsewhere they change nothing), since the maps of a step
are large enough to be given back to the system and cleared by it again each time. Beside it stand the floating-point
operations of the network's products in a step, and how many a second a product of two 1024 x 1024 matrices reaches.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from benchmarks.measure import in_own_process, least, write_result  # noqa: E402
from third_party.btcvae import BetaTCVAE, Estimator, btcvae_loss, training_forward  # noqa: E402

BATCH = 64
MATRIX = 1024
FORMS = ("plain", "fast")
PRECISIONS = ("float32", "bfloat16")
KEEP = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


def training_step(form: str, precision: str) -> Callable[[int], None]:
    """A function that trains once on a number of images."""
    torch.manual_seed(0)
    network = BetaTCVAE()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5)

    def step(batch: int) -> None:
        images = (torch.rand(batch, 1, 64, 64) > 0.9).float()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = training_forward(network, images) if form == "fast" else network(images)
        logits, mean, log_variance, z = (tensor.float() for tensor in outputs)
        loss = btcvae_loss(
            logits, images, mean, log_variance, z, dataset_size=737_280, estimator=Estimator.released
        )  # fmt: skip
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()

    return step


def measure(form: str, precision: str, repeats: int) -> dict[str, float]:
    """Images a second and the peak memory of a step, in this process."""
    step = training_step(form, precision)
    for _ in range(3):
        step(BATCH)
    measures = least(lambda: step(BATCH), lambda: step(BATCH), repeats)
    return {"images_per_second": BATCH / measures["seconds"]} | measures


def operations() -> float:
    """Floating-point operations of one step's convolutions and matrix products, per image."""
    step = training_step("plain", "float32")
    with FlopCounterMode(display=False) as counter:
        step(BATCH)
    return counter.get_total_flops() / BATCH


def product_rate(precision: str, repeats: int = 10) -> float:
    """Floating-point operations a second of a matrix product."""
    a = torch.randn(MATRIX, MATRIX, dtype=getattr(torch, precision))
    return 2.0 * MATRIX**3 / least(lambda: a @ a, lambda: a @ a, repeats)["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/vae_step.json"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--measure", nargs=2, metavar=("FORM", "PRECISION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure:
        print(json.dumps(measure(*options.measure, options.repeats)))
        return

    rows = []
    print(f"{'memory':>8} {'precision':>9} {'plain /s':>9} {'fast /s':>9} {'faster':>7}")
    for memory, variables in (("returned", {}), ("kept", KEEP)):
        for precision in PRECISIONS:
            measures = {}
            for form in FORMS:
                scale = ["--threads", options.threads, "--repeats", options.repeats]
                clean = {name: value for name, value in os.environ.items() if name not in KEEP}
                measures[form] = in_own_process(__file__, ["--measure", form, precision, *scale], clean | variables)
            plain, fast = (measures[form]["images_per_second"] for form in FORMS)
            rows.append({"memory": memory, "precision": precision, "batch": BATCH, "faster": fast / plain, **measures})
            print(f"{memory:>8} {precision:>9} {plain:>9.0f} {fast:>9.0f} {fast / plain:>6.2f}x")
    write_result(
        options.out, "vae_step", rows, options.threads, operations=operations(),
        keep=KEEP, product_rate={precision: product_rate(precision) for precision in PRECISIONS},
    )  # fmt: skip


if __name__ == "__main__":
    main()
