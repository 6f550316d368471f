"""beta-TCVAE against released weights and loss values, and its estimators against enumeration."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.conftest import shared_path
from third_party.btcvae import BetaTCVAE, Estimator, annealing, btcvae_loss, log_densities, log_importance_weights, loss

GOLDEN_SIZE = 737_280
TOLERANCE = 1e-12


def released() -> tuple[BetaTCVAE, dict[str, Tensor]]:
    vae = BetaTCVAE().requires_grad_(False)
    vae.load_state_dict(load_file(shared_path("reference/weights/disentangling_vae_btcvae_dsprites.safetensors")))
    return vae.double(), load_file(shared_path("reference/golden/btcvae_dsprites_vae.safetensors"))


def posteriors(n: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Overlapping posteriors of n images and one sample of each: z, mean, log-variance, (n, dim)."""
    mean, log_variance = torch.randn(n, dim, dtype=torch.float64), torch.randn(n, dim, dtype=torch.float64)
    return mean + (log_variance / 2).exp() * torch.randn_like(mean), mean, log_variance


def mixture(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """q(z_i) over the whole dataset, (n,)."""
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    return normal.log_prob(z[:, None]).sum(2).exp().mean(1)


def mean_estimate(estimator: Estimator, batch: int, n: int = 5) -> tuple[Tensor, Tensor]:
    """Mean over all ordered batches of the estimated q(z_i), and the true one, each (n,)."""
    z, mean, log_variance = posteriors(n, 2)
    total, count = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for rows in permutations(range(n), batch):
        index = torch.tensor(rows)
        _, log_qz, _, _ = log_densities(z[index], mean[index], log_variance[index], n, estimator)
        total[index] += log_qz.exp()
        count[index] += 1
    return total / count, mixture(z, mean, log_variance)


def test_parameter_counts() -> None:
    assert sum(p.numel() for p in BetaTCVAE(64).parameters()) == 502_005
    assert sum(p.numel() for p in BetaTCVAE(32).parameters()) == 469_173


def test_released_encoder_and_decoder() -> None:
    """The decoded images of the reference are stored as float32."""
    vae, golden = released()
    mean, log_variance = vae.encode(golden["image_uint8"].double() / 255)
    torch.testing.assert_close(mean, golden["mu"], rtol=0, atol=1e-12)
    torch.testing.assert_close(log_variance, golden["logvar"], rtol=0, atol=1e-12)
    for code, image in (("mu", "reconstruction"), ("z_random", "decoded_z_random")):
        torch.testing.assert_close(vae.decode(golden[code]), golden[image].double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [32, 64])
def test_forward_draws_z_and_returns_logits(size: int) -> None:
    vae = BetaTCVAE(size, channels=2, latent_dim=3).double()
    x = torch.rand(4, 2, size, size, dtype=torch.float64)
    logits, mean, log_variance, z = vae(x)
    assert logits.shape == x.shape and z.shape == (4, 3)
    torch.testing.assert_close(torch.sigmoid(logits), vae.decode(z))
    torch.manual_seed(3)
    _, _, _, again = vae(x)
    torch.manual_seed(3)
    noise = torch.randn_like(mean)
    torch.testing.assert_close(again, mean + (log_variance / 2).exp() * noise)


def test_other_image_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="32 or 64"):
        BetaTCVAE(28)


def test_released_loss() -> None:
    golden = load_file(shared_path("reference/golden/btcvae_loss.safetensors"))
    z, mean, log_variance = golden["z"], golden["mu"], golden["logvar"]
    terms = (golden[name] for name in ("log_qz_given_x", "log_qz", "log_prod_qzi", "log_pz"))
    for ours, theirs in zip(log_densities(z, mean, log_variance, GOLDEN_SIZE, Estimator.released), terms, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)
    for anneal, name in ((annealing(1, 10_000), "loss_train_step1"), (annealing(10_000, 10_000), "loss_eval")):
        loss = btcvae_loss(
            torch.logit(golden["reconstruction"]), golden["data"], mean, log_variance, z,
            dataset_size=GOLDEN_SIZE, anneal=anneal, estimator=Estimator.released,
        )  # fmt: skip
        torch.testing.assert_close(loss.total, golden[name][0], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(loss.reconstruction, golden["reconstruction_loss"][0], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(loss.mutual_information, golden["mi"][0], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(loss.total_correlation, golden["tc"][0], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(loss.dimension_wise_kl, golden["dw_kl"][0], rtol=0, atol=TOLERANCE)


def test_released_weights() -> None:
    golden = load_file(shared_path("reference/golden/btcvae_loss.safetensors"))["log_importance_weights"]
    ours = log_importance_weights(16, GOLDEN_SIZE, Estimator.released, golden)
    torch.testing.assert_close(ours, golden, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("batch", [3, 4, 5])
def test_stratified_estimator_is_unbiased(batch: int) -> None:
    """Over all minibatches, E sum_j W_ij q(z_i | x_j) = q(z_i), exactly, for every image i."""
    estimate, truth = mean_estimate(Estimator.stratified, batch)
    torch.testing.assert_close(estimate, truth, rtol=1e-12, atol=0)


@pytest.mark.parametrize("estimator", [Estimator.weighted, Estimator.released])
def test_other_estimators_are_biased(estimator: Estimator) -> None:
    """So the test above can tell: both miss by more than a tenth."""
    estimate, truth = mean_estimate(estimator, 3)
    assert ((estimate / truth).log().abs() > 0.1).any()


def test_stratified_weights_sum_to_one() -> None:
    log_w = log_importance_weights(7, 50, Estimator.stratified, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(log_w.exp().sum(1), torch.ones(7, dtype=torch.float64), rtol=0, atol=1e-14)
    torch.testing.assert_close(
        log_w.exp().diagonal(), torch.full((7,), 1 / 50, dtype=torch.float64), rtol=1e-14, atol=0
    )


def test_weighted_densities_of_a_whole_dataset() -> None:
    """B = N: all weights are 1 / N^2, so q(z) and each q(z_d) are the mixtures over N, divided by N."""
    n, (z, mean, log_variance) = 6, posteriors(6, 3)
    _, log_qz, log_prod_qz, _ = log_densities(z, mean, log_variance, n, Estimator.weighted)
    torch.testing.assert_close(log_qz.exp() * n, mixture(z, mean, log_variance), rtol=1e-12, atol=0)
    parts = [mixture(z[:, d : d + 1], mean[:, d : d + 1], log_variance[:, d : d + 1]) for d in range(3)]
    torch.testing.assert_close(log_prod_qz.exp() * n**3, parts[0] * parts[1] * parts[2], rtol=1e-12, atol=0)


@pytest.mark.parametrize("estimator", list(Estimator))
def test_three_terms_sum_to_the_kl_of_the_samples(estimator: Estimator) -> None:
    """MI + TC + DWKL = mean of log q(z|x) - log p(z), and the weights alpha, beta, gamma, a go where they should."""
    z, mean, log_variance = posteriors(6, 3)
    x = torch.rand(6, 1, 4, 4, dtype=torch.float64)
    logits = torch.randn_like(x)
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    p = torch.distributions.Normal(torch.zeros_like(z), torch.ones_like(z))
    kl = (q.log_prob(z) - p.log_prob(z)).sum(1).mean()
    loss = btcvae_loss(
        logits, x, mean, log_variance, z, dataset_size=40, alpha=2, beta=3, gamma=5, anneal=0.5, estimator=estimator
    )
    mi, tc, dwkl = loss.mutual_information, loss.total_correlation, loss.dimension_wise_kl
    torch.testing.assert_close(mi + tc + dwkl, kl, rtol=0, atol=1e-12)
    probability = torch.sigmoid(logits)
    bernoulli = -(x * probability.log() + (1 - x) * (1 - probability).log()).sum() / 6
    torch.testing.assert_close(loss.reconstruction, bernoulli, rtol=1e-12, atol=0)
    torch.testing.assert_close(loss.total, bernoulli + 2 * mi + 3 * tc + 2.5 * dwkl, rtol=1e-12, atol=1e-12)


def test_a_batch_in_blocks_is_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    whole = log_densities(*posteriors(7, 3), 40)
    monkeypatch.setattr(loss, "_PAIRS", 2 * 7)
    torch.manual_seed(0)
    for part, one in zip(log_densities(*posteriors(7, 3), 40), whole, strict=True):
        torch.testing.assert_close(part, one, rtol=1e-12, atol=0)


def test_annealing() -> None:
    assert [annealing(step, 4) for step in (1, 2, 4, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert annealing(1, 0) == 1.0


@pytest.mark.parametrize("estimator", [Estimator.stratified, Estimator.released])
def test_batches_too_small_for_stratified_weights_are_refused(estimator: Estimator) -> None:
    with pytest.raises(ValueError, match="at least 3"):
        log_importance_weights(2, 10, estimator, torch.zeros(()))
