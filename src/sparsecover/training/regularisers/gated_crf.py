"""The gated conditional random field (Obukhov et al. 2019, "Gated CRF Loss for Weakly Supervised Semantic Image
Segmentation", eq. 4 to 6): neighbours of like colour are to be of like class."""

import math

import torch
from torch import Tensor

from sparsecover.patches import Batch
from sparsecover.training.regularisers.base import Regulariser, check_range, free_pixels


class GatedCRF(Regulariser):
    """``1 / |U| sum_{i in U} sum_{j in N_r(i)} K_ij (1 - sum_c p_ic p_jc)`` over free pixels U; see ``pair_energy``.

    Args:
        weight: of the term. The published 0.1 drowns a few clicks, as each pixel's energy is a sum over its neighbours:
            networks then called nearly all one class (docs/technical-report.md).
        radius: of the square neighbourhood, in pixels.
        sigma_xy: width of the kernel in pixels.
        sigma_rgb: width of the kernel in colour, on images scaled to 0..1.
        value_range: how far normalised values spread: 2 for ``normalize: percentile``, 1 for ``minmax`` and ``dtype``,
            about 4 for ``zscore``.
    """

    def __init__(
        self,
        weight: float = 0.01,
        radius: int = 5,
        sigma_xy: float = 6.0,
        sigma_rgb: float = 0.1,
        value_range: float = 2.0,
    ) -> None:
        super().__init__(weight)
        self.radius = int(check_range("radius", radius, 1, 64))
        self.sigma_xy = check_range("sigma_xy", sigma_xy, 1e-3, math.inf)
        self.sigma_rgb = check_range("sigma_rgb", sigma_rgb, 1e-3, math.inf)
        self.value_range = check_range("value_range", value_range, 1e-6, math.inf)

    def sums(self, logits: Tensor, view: Batch) -> Tensor:
        """Energy of all pairs and, twice, the number of free pixels."""
        free = free_pixels(view)
        # Of more or fewer bands than three, the squared distance counts as if there were three.
        images = view.images.float() * (math.sqrt(3 / view.images.shape[1]) / self.value_range)
        energy = pair_energy(logits.softmax(1), images, view.valid, free, self.radius, self.sigma_xy, self.sigma_rgb)
        count = free.sum().to(energy)
        return torch.stack([energy, count, count])


def pair_energy(
    probabilities: Tensor,
    images: Tensor,
    valid: Tensor,
    gate: Tensor,
    radius: int = 5,
    sigma_xy: float = 6.0,
    sigma_rgb: float = 0.1,
) -> Tensor:
    """``sum_{i in gate} sum_{j in N_r(i), j valid} K_ij (1 - p_i . p_j)``, a scalar; pixel i is not its own neighbour.

    ``K_ij = exp(-|xy_i - xy_j|^2 / 2 sigma_xy^2 - |rgb_i - rgb_j|^2 / 2 sigma_rgb^2)``. The energy is quadratic in p,
    so its gradient, ``-sum_j W_ij p_j``, is summed up on the way and no neighbourhood has to be kept for it.

    Args:
        probabilities: [N, K, h, w].
        images: [N, C, h, w], scaled to 0..1.
        valid: bool [N, h, w].
        gate: bool [N, h, w], within ``valid``.
        radius: of the square neighbourhood in pixels.
        sigma_xy: in pixels.
        sigma_rgb: in units of ``images``.
    """
    p = probabilities.detach()
    height, width = p.shape[-2:]
    pull, total = torch.zeros_like(p), p.new_zeros(())
    images = torch.where(valid[:, None], images, 0).to(p)
    known, gated = valid[:, None].to(p), gate[:, None].to(p)
    for down in range(min(radius, height - 1) + 1):
        for right in range(-min(radius, width - 1), min(radius, width - 1) + 1):
            if down == 0 and right <= 0:
                continue  # each pair once
            a = (..., slice(0, height - down), slice(max(0, -right), width - max(0, right)))
            b = (..., slice(down, height), slice(max(0, right), width - max(0, -right)))
            colour = (images[a] - images[b]).square().sum(1, keepdim=True) / (2 * sigma_rgb**2)
            kernel = torch.exp(-colour - (down**2 + right**2) / (2 * sigma_xy**2))
            weight = kernel * known[a] * known[b] * (gated[a] + gated[b])
            total += weight.sum()
            pull[a].addcmul_(weight.expand_as(p[b]), p[b])
            pull[b].addcmul_(weight.expand_as(p[a]), p[a])
    agreement = (probabilities * pull).sum()  # every pair twice
    return total - agreement + agreement.detach() / 2
