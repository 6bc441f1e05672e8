"""BM3D's parameters, with the symbols of Dabov, Foi, Katkovnik and Egiazarian, IEEE TIP 16(8), 2007."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf


@dataclass(frozen=True)
class Step:
    """Parameters of one of the two steps (superscripts ht and wie in the paper's Table I).

    N1: side of a block in pixels.  N2: most blocks in a group, a power of two.  N_step: distance of reference
    blocks.  N_S: side of the square, odd, in which similar blocks are sought.  tau_match: largest mean squared
    difference of a similar block, in grey levels (0-255) squared.  tau_noise: bounds of tau_match in noise
    variances: noise alone puts 2 sigma^2 between equal blocks of the first step (the paper has a second set of
    parameters for sigma > 40 instead), and the second step, which matches on an estimate with little noise, joins
    different blocks at low noise with the paper's 400 (1 sigma^2 gains 0.6 dB at sigma 10 on a picture of flat
    areas and loses 0.02 dB on natural ones).  beta: of the Kaiser window.
    """

    N1: int = 8
    N2: int = 16
    N_step: int = 3
    N_S: int = 39
    tau_match: float = 3000.0
    tau_noise: tuple[float, float] = (3.2, inf)
    beta: float = 2.0

    def __post_init__(self) -> None:
        if self.N1 < 2 or self.N1 & (self.N1 - 1) or self.N2 < 1 or self.N2 & (self.N2 - 1):
            raise ValueError(f"N1 and N2 must be powers of two, not {self.N1} and {self.N2}")
        if self.N_step < 1 or self.N_S < 1 or self.N_S % 2 == 0:
            raise ValueError(f"N_step must be positive and N_S odd, not {self.N_step} and {self.N_S}")

    def tau(self, sigma: float) -> float:
        """Largest mean squared difference of a similar block, for images and sigma on a scale of [0, 1]."""
        least, most = self.tau_noise
        return min(max(self.tau_match / 255**2, least * sigma**2), most * sigma**2)


@dataclass(frozen=True)
class Profile:
    """Both steps. lambda_3D: the hard threshold in noise standard deviations.

    tau_match are those of the authors' published program; the paper's table has 2500 for the first step.
    """

    name: str = "normal"
    lambda_3D: float = 2.7
    hard: Step = field(default_factory=Step)
    wiener: Step = field(default_factory=lambda: Step(N2=32, tau_match=400.0, tau_noise=(0.0, 1.0)))


NORMAL = Profile()
FAST = Profile(
    name="fast",
    hard=Step(N_step=6, N_S=25),
    wiener=Step(N2=16, N_step=5, N_S=25, tau_match=400.0, tau_noise=(0.0, 1.0)),
)
