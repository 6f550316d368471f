r"""Time and memory of one training step of a GP flow: our velocities against the dense construction.

    python benchmarks/gp_step.py [--out outputs/bench/gp_step.json] [--quick] [--threads 1]

A step is 15 Runge-Kutta steps forward in the cube (60 evaluations), the transport cost, its gradient, and one step of
Adam, for 1024 particles in float32. `dense` and its leaner form `lean` (:mod:`benchmarks.dense`) are measured in the
same run.

Seconds: the least over the repeats; with one thread the processor time of the process, which other work on the machine
does not inflate, else the wall clock. Memory: each measurement has a process of its own, started afresh (not forked: a
child inherits the `ru_maxrss` of its parent through fork and exec); a step of eight particles loads and allocates what
any step needs; then `peak_mb` is the largest resident set (VmHWM of /proc/self/status, reset beforehand) minus the one
before the full step. Where /proc is absent, `ru_maxrss` takes its place.

A dense step expected to need more than 12 GB (from one with a single Runge-Kutta step) is not run: its entries are
null, with a note.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.dense import dense_velocity  # noqa: E402
from benchmarks.measure import in_own_process, least, write_result  # noqa: E402
from gpot.gp.velocity import MLPVelocity, RidgeVelocity, Velocity  # noqa: E402
from gpot.maths.charts import Chart, from_cube, to_cube  # noqa: E402
from gpot.maths.integrate import integrate  # noqa: E402

N_STEPS = 15
BATCH = 1024
HIDDEN = {2: (15, 15), 10: (50, 50, 50), 20: (50, 50, 50)}
WIDTH = {2: 64, 10: 256, 20: 256}
MEMORY_LIMIT_MB = 12_000.0
DENSE = ("dense", "lean")


def training_step(kind: str, dim: int, n_steps: int) -> Callable[[int], None]:
    """A function that trains once on a number of particles."""
    torch.manual_seed(0)
    velocity: Velocity = RidgeVelocity(dim, WIDTH[dim]) if kind == "ridge" else MLPVelocity(dim, HIDDEN[dim])
    optimizer = torch.optim.Adam(velocity.parameters())

    def dense(t: Tensor | float, c: Tensor) -> Tensor:
        layers = velocity.denses
        return dense_velocity(t, c, [la.weight for la in layers], [la.bias for la in layers], kind == "lean")

    def step(batch: int) -> None:
        z = torch.randn(batch, dim).clamp(-4.0, 4.0)
        x = z + 0.1 * torch.randn(batch, dim)
        field = dense if kind in DENSE else velocity.field(Chart.cube)
        image = from_cube(integrate(field, to_cube(z), n_steps))
        optimizer.zero_grad()
        (x - image).square().sum(1).mean().backward()
        optimizer.step()

    return step


def measure(kind: str, dim: int, n_steps: int, repeats: int) -> dict[str, float]:
    """Seconds and peak memory of a step, in this process."""
    step = training_step(kind, dim, n_steps)
    return least(lambda: step(8), lambda: step(BATCH), repeats)


def measured(kind: str, dim: int, n_steps: int, repeats: int, threads: int) -> dict[str, float]:
    """:func:`measure` in a fresh interpreter."""
    return in_own_process(__file__, ["--measure", kind, dim, n_steps, repeats, "--threads", threads])


def dense_row(dim: int, repeats: int, threads: int) -> dict[str, float | str | None]:
    """The dense measurements, or nulls with a note where they would not fit."""
    expected = N_STEPS * measured("dense", dim, 1, 1, threads)["peak_mb"]
    row: dict[str, float | str | None] = {"dense_expected_mb": expected}
    for kind in DENSE:
        if expected > MEMORY_LIMIT_MB:
            row |= {f"{kind}_seconds": None, f"{kind}_seconds_median": None, f"{kind}_peak_mb": None}
            row["note"] = (
                f"dense not run: {N_STEPS} steps would need about {expected:.0f} MB, more than {MEMORY_LIMIT_MB:.0f}"
            )
        else:
            timing = measured(kind, dim, N_STEPS, repeats, threads)
            row |= {f"{kind}_{key}": timing[key] for key in ("seconds", "seconds_median", "peak_mb")}
    return row


def table(rows: list[dict]) -> str:
    """The rows as text, with the ratios dense / ours."""
    lines = [
        f"{'dim':>4} {'velocity':>9} {'seconds':>9} {'peak MB':>9} {'dense s':>9} {'dense MB':>9} {'faster':>7} "
        f"{'leaner':>7}"
    ]
    for row in rows:
        ours = f"{row['dim']:>4} {row['velocity']:>9} {row['seconds']:>9.4f} {row['peak_mb']:>9.1f}"
        if row["dense_seconds"] is None:
            lines.append(f"{ours}   {row['note']}")
            continue
        ratios = row["dense_seconds"] / row["seconds"], row["dense_peak_mb"] / max(row["peak_mb"], 0.1)
        dense = f"{row['dense_seconds']:>9.4f} {row['dense_peak_mb']:>9.1f}"
        lines.append(f"{ours} {dense} {ratios[0]:>6.1f}x {ratios[1]:>6.1f}x")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/gp_step.json"))
    parser.add_argument("--quick", action="store_true", help="d = 2 and 10 only, fewer repeats")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", nargs=4, metavar=("KIND", "DIM", "STEPS", "REPEATS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure:
        kind, dim, n_steps, repeats = options.measure
        print(json.dumps(measure(kind, int(dim), int(n_steps), int(repeats))))
        return

    rows = []
    for dim in (2, 10) if options.quick else (2, 10, 20):
        fast, slow = (5, 1 if dim > 2 else 5) if options.quick else (10, 2 if dim > 2 else 10)
        dense = dense_row(dim, slow, options.threads)
        for velocity in ("mlp", "ridge"):
            timing = measured(velocity, dim, N_STEPS, fast, options.threads)
            rows.append({"dim": dim, "velocity": velocity, "batch": BATCH, **timing, **dense})
    print(table(rows))
    write_result(options.out, "gp_step", rows, options.threads, steps=N_STEPS)


if __name__ == "__main__":
    main()
