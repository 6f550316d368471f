r"""A ridge flow on a GPU: cost and gradient of its whole path, launched kernel by kernel, compiled, and as one graph.

    python benchmarks/gpu_ridge.py [--out outputs/bench/gpu_ridge.json] [--seconds 540]

Runge-Kutta 4 of the ridge field in the direct chart (:mod:`gpot.maths.ridge_path`), 8 steps, E|x - s(z)|^2 and its
gradient in all parameters, float32, no optimizer. `eager` is what training does, `compiled` is torch.compile of the
plain formula, `graphed` is `eager` captured once as a CUDA graph, forward and backward in one launch. For each:
milliseconds by CUDA events, the median of --repeats; launches of a step from the host, counted by the profiler; and,
against `eager`, the largest difference of the images and the relative one of the gradients. `log_det_error` is the mean
over 512 particles of |log|det ds/dz| - (|s|^2 - |z|^2) / 2|, the determinant exact for the discretized map, the images
those of the way in question. A way that would start after --seconds is left out, and said. Without a GPU nothing is
measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.measure import write_result  # noqa: E402
from gpot.gp.flow import GaussianPreservingFlow  # noqa: E402
from gpot.gp.velocity import RidgeVelocity  # noqa: E402
from gpot.maths import ridge_path as module  # noqa: E402
from gpot.maths.charts import Chart  # noqa: E402
from gpot.maths.integrate import Method, integrate  # noqa: E402

N_STEPS, WIDTH, WARM_UP, LOG_DET_POINTS = 8, 256, 3, 512
CASES = ((10, 512), (10, 65_536), (128, 4096))  # dimension, particles
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch",
            "cudaMemcpyAsync", "cudaMemsetAsync")  # fmt: skip

Step = Callable[[], Tensor]  # fills the gradients and returns the images


class Problem:
    """A flow of some size with weights that move particles, and a batch."""

    def __init__(self, dim: int, particles: int, device: str) -> None:
        torch.manual_seed(0)
        self.gp = GaussianPreservingFlow(RidgeVelocity(dim, WIDTH, output_scale=0.3), Chart.direct, N_STEPS).to(device)
        self.velocity = self.gp.velocity
        self.z = torch.randn(particles, dim, device=device)
        self.x = self.z + 0.5 * torch.randn(particles, dim, device=device)
        self.parameters = list(self.velocity.parameters())

    def descend(self, transport: Callable[[Tensor], Tensor]) -> Tensor:
        """Fresh gradients of the cost; the images."""
        for parameter in self.parameters:
            parameter.grad = None
        s = transport(self.z)
        (self.x - s).square().sum(1).mean().backward()
        return s.detach()

    def formula(self, z: Tensor) -> Tensor:
        """The same path, one evaluation after another, in operations that a compiler can see."""
        assert isinstance(self.velocity, RidgeVelocity)
        v = self.velocity
        return integrate(module.packed_field(*module.packed(v.w, v.o, v.b, v.alpha, v.beta)), z, N_STEPS, Method.rk4)


def eager(problem: Problem) -> Step:
    return lambda: problem.descend(problem.gp.transport)


def compiled(problem: Problem) -> Step:
    transport = torch.compile(problem.formula, dynamic=False)
    return lambda: problem.descend(transport)


def graphed(problem: Problem) -> Step:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # before a capture, on another stream, so that libraries have their workspaces
        for _ in range(WARM_UP):
            problem.descend(problem.gp.transport)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        images = problem.descend(problem.gp.transport)
    gradients = [parameter.grad for parameter in problem.parameters]

    def step() -> Tensor:
        graph.replay()
        for parameter, gradient in zip(problem.parameters, gradients, strict=True):
            parameter.grad = gradient
        return images

    return step


WAYS: dict[str, Callable[[Problem], Step]] = {"eager": eager, "graphed": graphed, "compiled": compiled}


def launches(step: Step) -> int:
    """Of one step, from the host."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        step()
        torch.cuda.synchronize()
    return sum(event.count for event in profiler.key_averages() if event.key in LAUNCHES)


def milliseconds(step: Step, repeats: int) -> list[float]:
    found = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        step()
        end.record()
        torch.cuda.synchronize()
        found.append(start.elapsed_time(end))
    return found


def measure(problem: Problem, step: Step, repeats: int) -> dict[str, Any]:
    """Time, memory and launches of a way, and how far its results are from those of `eager`."""
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    found = milliseconds(step, repeats)
    memory = torch.cuda.max_memory_allocated() / 2**20
    images = step().clone()
    gradients = [parameter.grad.clone() for parameter in problem.parameters if parameter.grad is not None]
    expected = eager(problem)()
    apart = [float((one - other.grad).norm() / other.grad.norm())
             for one, other in zip(gradients, problem.parameters, strict=True) if other.grad is not None]  # fmt: skip
    z, s = problem.z[:LOG_DET_POINTS], images[:LOG_DET_POINTS]
    exact = problem.gp.exact_log_det(z)
    error = (exact - 0.5 * ((s * s).sum(1) - (z * z).sum(1))).abs().mean().item()
    return {
        "milliseconds": statistics.median(found), "milliseconds_least": min(found), "peak_mb": memory,
        "launches": launches(step), "images_apart": float((images - expected).abs().max()),
        "gradients_apart": max(apart), "log_det_error": error,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/gpu_ridge.json"))
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=540.0, help="no way starts after these")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(
            "benchmarks/gpu_ridge.py times a GPU, and torch finds none here; run it where torch.cuda.is_available() is "
            "true, or time one step on a CPU: python benchmarks/ridge_scaling.py"
        )
    module._CELLS = sys.maxsize  # all particles together: chunks are for the cache of a CPU
    started, rows = time.monotonic(), []
    for name, way in WAYS.items():  # what compiles, and takes minutes, last
        for dim, particles in CASES:
            row: dict[str, Any] = {"way": name, "dim": dim, "particles": particles}
            if time.monotonic() - started > options.seconds:
                rows.append(row | {"note": f"not run: {options.seconds:.0f} seconds were over"})
            else:
                problem = Problem(dim, particles, "cuda")
                rows.append(row | measure(problem, way(problem), options.repeats))
            print(rows[-1], flush=True)
            write_result(options.out, "gpu_ridge", rows, torch.get_num_threads(), steps=N_STEPS, width=WIDTH,
                         device=torch.cuda.get_device_name())  # fmt: skip


if __name__ == "__main__":
    main()
