"""The benchmark that needs a GPU says so where there is none, and its ways compute the same thing."""

from __future__ import annotations

import copy
import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks import gpu_models, gpu_ridge
from gpot.config.compose import compose
from gpot.data.images import DSpritesImages
from gpot.maths.schedule import through_points
from gpot.training.vae import weights_at
from tests.conftest import ROOT
from third_party.btcvae import BetaTCVAE, annealing, btcvae_loss


@pytest.mark.parametrize(
    ("script", "instead"),
    [("gpu_ridge.py", "benchmarks/ridge_scaling.py"), ("gpu_models.py", "scripts/train_vae.py pretrained=null")],
)
def test_without_a_gpu_one_sentence_and_nothing_written(tmp_path, script: str, instead: str):
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--out", str(out)]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, check=False
    )
    assert ended.returncode == 1 and not out.exists()
    assert "torch finds none here" in ended.stderr and instead in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("dim", [2, 5])
def test_what_is_compiled_is_what_is_trained(dim: int):
    problem = gpu_ridge.Problem(dim, 9, "cpu")
    results = []
    for transport in (problem.gp.transport, problem.formula):
        s = problem.descend(transport)
        results.append((s, *(parameter.grad for parameter in problem.parameters)))
    assert (results[0][0] - problem.z).abs().max() > 1e-2
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def test_a_step_that_can_be_captured_is_a_step_of_the_training():
    config = compose("train_vae", ["dataset=dsprites", "vae.batch_size=4", "vae.precision=float32"])
    vae, adam, source = config.vae, config.optimizer.vae, DSpritesImages(None)
    assert vae is not None and vae.ceiling
    vae = dataclasses.replace(vae, ceiling={1: 6.4, 3: 0.1})
    bits = source.pixels(np.arange(0, 737_280, 40_000))
    torch.manual_seed(0)
    trained = BetaTCVAE()
    expected = copy.deepcopy(trained)
    training = gpu_models.Training(trained, bits, source.unpack, gpu_models.schedule(vae, adam, 4), vae)
    assert training.batches == len(bits) // 4
    training.new_order()
    noise = torch.get_rng_state()
    for _ in range(3):
        training.step()

    torch.set_rng_state(noise)
    optimizer = torch.optim.Adam(expected.parameters())
    for step in range(3):
        optimizer.param_groups[0]["lr"] = adam.lr * through_points(step, adam.points)
        (x,) = source.unpack(bits[training.order[4 * step : 4 * step + 4]])
        logits, mean, log_variance, z = expected(x)
        alpha, beta, gamma = weights_at(step + 1, vae)
        btcvae_loss(
            logits, x, mean, log_variance, z, dataset_size=len(bits), alpha=alpha, beta=beta, gamma=gamma,
            anneal=annealing(step + 1, vae.annealing_steps), estimator=vae.estimator,
        ).total.backward()  # fmt: skip
        optimizer.step()
        optimizer.zero_grad()
    for found, wanted in zip(trained.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)
    assert len(training.measured()["kl"]) == 10
