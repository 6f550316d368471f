r"""beta-TCVAE (Chen, Li, Grosse and Duvenaud, 2018) with the convolutional network of Burgess et al. (2018).

Written from the papers. Names and shapes of the state dict are those of the publicly released models, so that such a
checkpoint loads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

HIDDEN_CHANNELS = 32
HIDDEN_UNITS = 256
_KERNEL: dict[str, Any] = {"kernel_size": 4, "stride": 2, "padding": 1}  # each layer halves, or doubles, the side
_GRID = 4  # side of the last feature map


class Encoder(nn.Module):
    """Image (n, C, S, S) -> mean and log-variance of q(z|x), each (n, latent_dim). S = 32 or 64."""

    def __init__(self, image_size: int, channels: int, latent_dim: int) -> None:
        super().__init__()
        h = HIDDEN_CHANNELS
        self.latent_dim = latent_dim
        self.conv1 = nn.Conv2d(channels, h, **_KERNEL)
        self.conv2 = nn.Conv2d(h, h, **_KERNEL)
        self.conv3 = nn.Conv2d(h, h, **_KERNEL)
        self.conv_64 = nn.Conv2d(h, h, **_KERNEL) if image_size == 64 else None
        self.lin1 = nn.Linear(h * _GRID * _GRID, HIDDEN_UNITS)
        self.lin2 = nn.Linear(HIDDEN_UNITS, HIDDEN_UNITS)
        self.mu_logvar_gen = nn.Linear(HIDDEN_UNITS, 2 * latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        for layer in (self.conv1, self.conv2, self.conv3, self.conv_64):
            if layer is not None:
                h = torch.relu(layer(h))
        h = torch.relu(self.lin1(h.flatten(1)))
        h = torch.relu(self.lin2(h))
        # the released layout: outputs 2k and 2k + 1 are mean and log-variance of coordinate k
        mean, log_variance = self.mu_logvar_gen(h).unflatten(1, (self.latent_dim, 2)).unbind(-1)
        return mean, log_variance


class Decoder(nn.Module):
    """Code (n, latent_dim) -> Bernoulli logits of the pixels (n, C, S, S)."""

    def __init__(self, image_size: int, channels: int, latent_dim: int) -> None:
        super().__init__()
        h = HIDDEN_CHANNELS
        self.lin1 = nn.Linear(latent_dim, HIDDEN_UNITS)
        self.lin2 = nn.Linear(HIDDEN_UNITS, HIDDEN_UNITS)
        self.lin3 = nn.Linear(HIDDEN_UNITS, h * _GRID * _GRID)
        self.convT_64 = nn.ConvTranspose2d(h, h, **_KERNEL) if image_size == 64 else None
        self.convT1 = nn.ConvTranspose2d(h, h, **_KERNEL)
        self.convT2 = nn.ConvTranspose2d(h, h, **_KERNEL)
        self.convT3 = nn.ConvTranspose2d(h, channels, **_KERNEL)

    def forward(self, z: Tensor) -> Tensor:
        h = torch.relu(self.lin1(z))
        h = torch.relu(self.lin2(h))
        h = torch.relu(self.lin3(h)).unflatten(1, (HIDDEN_CHANNELS, _GRID, _GRID))
        for layer in (self.convT_64, self.convT1, self.convT2):
            if layer is not None:
                h = torch.relu(layer(h))
        return self.convT3(h)


class BetaTCVAE(nn.Module):
    """Encoder and decoder.

    Arguments:
        image_size: 32 or 64.
        channels: of an image.
        latent_dim: of a code.
    """

    def __init__(self, image_size: int = 64, channels: int = 1, latent_dim: int = 10) -> None:
        super().__init__()
        if image_size not in (32, 64):
            raise ValueError(f"image_size must be 32 or 64 (the two sizes of the network), got {image_size}")
        self.image_size, self.channels, self.latent_dim = image_size, channels, latent_dim
        self.encoder = Encoder(image_size, channels, latent_dim)
        self.decoder = Decoder(image_size, channels, latent_dim)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images (n, C, S, S) -> logits of the reconstruction, mean, log-variance, a sample z of q(z|x)."""
        mean, log_variance = self.encoder(x)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        return self.decoder(z), mean, log_variance, z

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance, each (n, latent_dim)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Expected image, probabilities in (0, 1), (n, C, S, S)."""
        return torch.sigmoid(self.decoder(z))
