"""The matrix from latents to what sensors measure, and its checks."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from heatgrad.core.errors import HeatgradWarning
from heatgrad.inverse.exact.prior import GaussianPrior
from heatgrad.inverse.latents.latent import Latent
from heatgrad.inverse.observing.instrument import SAME, Instrument
from heatgrad.inverse.observing.observation import check_noise
from heatgrad.inverse.observing.operators import Operator

__all__ = ["MAX_OBSERVATIONS", "SensorMatrix", "check_count", "sensor_matrix"]

MAX_OBSERVATIONS = 5000
"""Most observations that are factored unless asked for: their square has 200 MB."""

_PART = 32  # rows that are computed together
_BLIND = 1e-14  # of the mean variance of the sensors of a field
_LINEAR = 1e-6


@dataclass(frozen=True, eq=False)
class SensorMatrix:
    r"""What sensors see of latents, $y = A z + b + n$, $n \sim \mathcal N(0, R)$.

    Sensors that carry nothing are left out.

    Attributes:
        instrument: All sensors.
        is_kept: Which of them are used, shape (m,).
        matrix: A of the used ones, shape (kept, numbers), float64.
        offset: b, what they measure of the latent 0, shape (kept,).
        noise: Standard deviation of each by the user, shape (kept,).
        jitter: Variance that is added to that, shape (kept,).
        known: What all sensors measure of the mean of the prior, shape (m,).
        scale: Prior standard deviation of the sensors of the same field, shape (m,).
    """

    instrument: Instrument
    is_kept: Bool[Tensor, " m"]
    matrix: Float[Tensor, "kept numbers"]
    offset: Float[Tensor, " kept"]
    noise: Float[Tensor, " kept"]
    jitter: Float[Tensor, " kept"]
    known: Float[Tensor, " m"]
    scale: Float[Tensor, " m"]

    @property
    def num_dropped(self) -> int:
        """Sensors that carry no information and are left out."""
        return int((~self.is_kept).sum())

    @property
    def variance(self) -> Float[Tensor, " kept"]:
        """R, the noise with the jitter."""
        return self.noise.square() + self.jitter

    def used(self, values: Float[Tensor, "cases m"]) -> Float[Tensor, "cases kept"]:
        """Return the values of the sensors that are used, less b, after checks.

        Raises:
            ValueError: If the shape is wrong, a value is not finite, two sensors without noise
                measure the same and disagree, or one says what cannot be.
        """
        if values.ndim != 2 or values.shape[1] != len(self.is_kept):
            raise ValueError(
                f"values must have shape (cases, {len(self.is_kept)}), got {tuple(values.shape)}"
            )
        if not bool(values.isfinite().all()):
            raise ValueError("values must be finite, got NaN or infinite ones")
        is_exact = torch.ones_like(self.is_kept)
        is_exact[self.is_kept] = self.noise == 0
        self._agree(values.detach(), is_exact.to(values.device))
        kept = self.is_kept.to(values.device)
        found = values[:, kept].to(self.matrix)
        return found - self.offset

    def _agree(self, values: Tensor, is_exact: Tensor) -> None:
        scale, known = self.scale.to(values), self.known.to(values)
        self.instrument.refuse_contradictions(values, is_exact, scale)
        blind = ~self.is_kept.to(values.device) & is_exact
        wrong = ((values - known).abs() > SAME * scale + 1e-12) & blind
        if bool(wrong.any()):
            case, sensor = (int(k) for k in torch.nonzero(wrong)[0])
            raise ValueError(
                f"sensor {sensor} always measures {float(known[sensor]):g} under this prior, got "
                f"{float(values[case, sensor]):g} in case {case}; leave it out, or choose another "
                f"prior"
            )


def check_count(count: int, most: int, numbers: int) -> None:
    """Refuse more observations than are meant to be factored.

    Raises:
        ValueError: With the memory that it would take.

    Example:
        >>> check_count(10, 5000, 100)
    """
    if count > most:
        size = 8 * (count * numbers + 3 * count**2) / 1e9
        raise ValueError(
            f"at most {most} observations are factored at once, got {count}, which take about "
            f"{size:.3g} GB; leave some out, average neighbours, or raise max_observations"
        )


def sensor_matrix(
    latent: Latent,
    operators: Sequence[Operator],
    noise: Tensor | float,
    prior: GaussianPrior,
    *,
    jitter: float,
    max_observations: int = MAX_OBSERVATIONS,
    device: torch.device | str | None = None,
) -> SensorMatrix:
    r"""Return the matrix from latents to observations, row by row by transposed transforms.

    $$A = H F, \qquad b = H f(0), \qquad R_{ii} = r_i^2 + \epsilon\, v, \tag{I.9}$$

    F the linear part of `decode`, ε the jitter and v the mean prior variance of the sensors of the
    same field.

    Args:
        latent: Whose `decode` is linear but for a constant.
        operators: What is measured.
        noise: r, of all or of each [field].
        prior: Of the latents, by which a sensor carries something or nothing.
        jitter: ε, at least 0 [1].
        max_observations: Refuse more of them.
        device: Where to compute and keep it; the CPU if None.

    Raises:
        ValueError: If `decode` is not linear, there are too many observations, none carries
            anything, or an argument does not fit.

    Warns:
        HeatgradWarning: If some carry nothing, with their number.

    References:
        Theory page: Eq. (I.9).
    """
    instrument = Instrument(latent.grid, operators, latent.names)
    count, numbers = len(instrument), prior.mean.numel()
    check_count(count, max_observations, numbers)
    if not jitter >= 0:
        raise ValueError(f"jitter must be at least 0, got {jitter}")
    std = check_noise(noise, count)
    matrix = _rows(latent, instrument, device)
    if matrix.shape[1] != numbers:
        raise ValueError(
            f"the prior must have {matrix.shape[1]} numbers as the latent, got {numbers}"
        )
    zero = matrix.new_zeros(1, *latent.shape)
    with torch.no_grad():
        offset = instrument(latent.decode(zero))[0]
    _check_linear(latent, instrument, matrix, offset)
    mean_variance, kept = _informed(instrument, prior, matrix)
    return SensorMatrix(
        instrument,
        kept.cpu(),
        matrix[kept],
        offset[kept],
        std.to(matrix)[kept],
        jitter * mean_variance[kept],
        offset + matrix @ prior.mean.to(matrix),
        mean_variance.sqrt(),
    )


def _informed(
    instrument: Instrument, prior: GaussianPrior, matrix: Tensor
) -> tuple[Float[Tensor, " m"], Bool[Tensor, " m"]]:
    """Return the mean prior variance of the sensors of each one's field, and which vary at all."""
    variance = (prior.times(matrix) * matrix).sum(1)
    mean_variance = torch.zeros_like(variance)
    for field in instrument.fields:
        own = instrument.of(field).to(variance.device)
        mean_variance[own] = variance[own].mean()
    kept = variance > _BLIND * mean_variance
    count = len(kept)
    if not bool(kept.any()):
        raise ValueError(
            f"none of the {count} observations carries information under this prior; place "
            f"sensors where the fields vary"
        )
    if not bool(kept.all()):
        warnings.warn(
            f"{int((~kept).sum())} of {count} sensors carry no information (what they measure is "
            f"the same for all fields of the prior, as on a border of zeros) and are dropped",
            HeatgradWarning,
            stacklevel=5,
        )
    return mean_variance, kept


def _rows(
    latent: Latent, instrument: Instrument, device: torch.device | str | None
) -> Float[Tensor, "m numbers"]:
    """Return A by products with its transpose, some rows at a time."""
    count = len(instrument)
    rows: list[Tensor] = []
    size = min(_PART, count)
    with torch.enable_grad():
        z = torch.zeros(size, *latent.shape, dtype=torch.float64, device=device)
        z.requires_grad_()
        fields = latent.decode(z)
        for first in range(0, count, size):
            first = min(first, count - size)  # the last part overlaps the one before
            pulled = instrument.transposed(first, first + size, z)
            seen = [fields[name] for name in pulled]
            (row,) = torch.autograd.grad(seen, z, list(pulled.values()), retain_graph=True)
            rows.append(row.flatten(1)[len(rows) * size - first :])
    return torch.cat(rows)


def _check_linear(latent: Latent, instrument: Instrument, matrix: Tensor, offset: Tensor) -> None:
    """Raise unless A z + b is what is observed of two random latents."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, matrix.shape[1], generator=generator, dtype=torch.float64).to(matrix)
    with torch.no_grad():
        seen = instrument(latent.decode(z.reshape(2, *latent.shape)))
    gap = float((seen - z @ matrix.T - offset).abs().max())
    if not gap <= _LINEAR * float((seen - offset).abs().max()) + 1e-300:
        raise ValueError(
            "the latent must decode linearly for a Gaussian posterior, and it does not; use a "
            "guidance by gradients, DPS or PersistentAdam"
        )
