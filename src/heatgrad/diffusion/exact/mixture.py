"""The denoiser of a mixture of Gaussian laws, each of which may belong to a class."""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from heatgrad.diffusion.denoiser import levels_like
from heatgrad.diffusion.exact.gaussian import spectrum_of

__all__ = ["MixtureDenoiser"]


@dataclass(frozen=True, eq=False)
class MixtureDenoiser:
    r"""The exact denoiser of data with a mixture of Gaussian laws.

    $$D(x, \sigma) = \sum_k r_k D_k(x, \sigma), \qquad
    r_k \propto w_k\, \mathcal N(x; m_k, S_k + \sigma^2 I), \tag{D.20}$$

    with $D_k$ of Eq. (D.18) and the r normalised in logarithms. Told a class, the sum is over the
    components of that class.

    Args:
        weights: w, shape (k,), positive; they are normalised [1].
        means: m, shape (k, *shape) [data].
        stds: Standard deviation of independent numbers, shape (k, *shape), (k,) or () [data].
        covs: S of the flattened numbers, shape (k, d, d), in place of `stds` [data²].
        labels: The class of each component, shape (k,), int64, at least 0; by default each is
            a class of its own.

    Attributes:
        weights: As given.
        means: As given.
        stds: As given.
        covs: As given.
        labels: As given.

    Raises:
        ValueError: If a shape or a number is not as above.

    References:
        Theory page: Eq. (D.20).

    Example:
        >>> two = MixtureDenoiser(torch.ones(2), torch.tensor([[-1.0], [1.0]]), stds=0.0)
        >>> x, sigma = torch.tensor([[0.0]]), torch.tensor(0.5)
        >>> two(x, sigma), two(x, sigma, torch.tensor([1]))
        (tensor([[0.]]), tensor([[1.]]))
    """

    weights: Tensor
    means: Tensor
    stds: Tensor | float | None = field(default=None, kw_only=True)
    covs: Tensor | None = field(default=None, kw_only=True)
    labels: Tensor | None = field(default=None, kw_only=True)
    _log_weights: Tensor = field(init=False, repr=False)
    _classes: Tensor = field(init=False, repr=False)
    _variances: Tensor = field(init=False, repr=False)
    _vectors: Tensor | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        w, num = self.weights.double(), len(self.means)
        if w.shape != (num,) or not num or not bool((torch.isfinite(w) & (w > 0)).all()):
            raise ValueError(f"weights must be {num} positive numbers, got {self.weights}")
        classes = torch.arange(num) if self.labels is None else self.labels
        if classes.shape != (num,) or classes.dtype != torch.int64 or int(classes.min()) < 0:
            raise ValueError(f"labels must be {num} whole numbers, at least 0, got {self.labels}")
        stds: list[Tensor | float | None] = [None] * num
        if self.stds is not None:
            each = torch.as_tensor(self.stds)
            if each.ndim and len(each) != num:
                raise ValueError(f"stds must be one or {num}, got shape {tuple(each.shape)}")
            stds = list(each) if each.ndim else [each] * num
        covs = [None] * num if self.covs is None else list(self.covs)
        if len(covs) != num:
            raise ValueError(f"covs must be {num}, got {len(covs)}")
        parts = [spectrum_of(*part) for part in zip(self.means, stds, covs, strict=True)]
        vectors = [part[1] for part in parts if part[1] is not None]
        object.__setattr__(self, "_log_weights", torch.log(w / w.sum()))
        object.__setattr__(self, "_classes", classes)
        object.__setattr__(self, "_variances", torch.stack([part[0] for part in parts]))
        object.__setattr__(self, "_vectors", torch.stack(vectors) if vectors else None)

    def __call__(
        self,
        x: Float[Tensor, "n *shape"],
        sigma: Float[Tensor, "*n"],
        label: Int64[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n *shape"]:
        """Return the denoised samples, see `LabelledDenoiser`.

        Raises:
            ValueError: If the samples are of another shape than the means, there is no component
                of a class, or a component without spread meets level 0.
        """
        modes, total = self._modes(x, sigma)
        shares = self._log_joint(modes, total, label).softmax(1)
        modes = self._variances.to(x) / total * modes
        if self._vectors is not None:
            modes = torch.einsum("nke,kde->nkd", modes, self._vectors.to(x))
        parts = self.means.to(x).reshape(1, *modes.shape[1:]) + modes
        return torch.einsum("nk,nkd->nd", shares, parts).reshape(x.shape)

    def log_density(
        self,
        x: Float[Tensor, "n *shape"],
        sigma: Float[Tensor, "*n"],
        label: Int64[Tensor, " n"] | None = None,
    ) -> Float[Tensor, " n"]:
        r"""Return the log-density of noisy samples, jointly with their class if it is told.

        So $\log p(c \mid x)$ is the difference of the two, the exact classifier.

        Raises:
            ValueError: As on a call.
        """
        return self._log_joint(*self._modes(x, sigma), label).logsumexp(1)

    def sample(self, num: int, generator: torch.Generator) -> tuple[Tensor, Int64[Tensor, " n"]]:
        """Return samples without noise, shape (num, *shape), and the class of each."""
        which = torch.multinomial(self._log_weights.exp(), num, True, generator=generator)
        size = self._variances.shape[1]
        modes = torch.randn(num, size, generator=generator, dtype=torch.float64)
        modes = modes * self._variances[which].sqrt()
        if self._vectors is not None:
            modes = torch.einsum("ne,nde->nd", modes, self._vectors[which])
        centres = self.means[which]
        return centres + modes.reshape(centres.shape).to(centres), self._classes[which]

    def _modes(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return samples less each mean in its eigenbasis, and their variances, (n, k, d)."""
        if x.shape[1:] != self.means.shape[1:]:
            raise ValueError(
                f"samples must have the means' shape {tuple(self.means.shape[1:])}, got "
                f"{tuple(x.shape[1:])}"
            )
        num, size = self._variances.shape
        modes = (x.unsqueeze(1) - self.means.to(x)).reshape(len(x), num, size)
        if self._vectors is not None:
            modes = torch.einsum("nkd,kde->nke", modes, self._vectors.to(x))
        total = self._variances.to(x) + levels_like(sigma, modes) ** 2
        if not bool((total > 0).all()):
            raise ValueError("sigma must be above 0 where a component has no spread")
        return modes, total

    def _log_joint(self, modes: Tensor, total: Tensor, label: Tensor | None) -> Tensor:
        """Return the log-density of each component, with its weight, shape (n, k)."""
        log = -0.5 * (modes**2 / total + torch.log(2 * math.pi * total)).sum(2)
        log = log + self._log_weights.to(log)
        if label is None:
            return log
        if label.shape != log.shape[:1]:
            raise ValueError(f"label must be one for each of {len(log)} samples, got {label.shape}")
        told = label.to(log.device).unsqueeze(1)
        belongs = (told == self._classes.to(log.device)) | (told < 0)
        if not bool(belongs.any(1).all()):
            known = sorted(set(self._classes.tolist()))
            raise ValueError(f"label must be among the classes {known}, got {label.tolist()}")
        return log.masked_fill(~belongs, -math.inf)
