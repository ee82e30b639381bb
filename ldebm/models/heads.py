"""Heads: they map the encoder's state h (B, 2H) to a posterior q(z|x)."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from ldebm.models.posteriors import Categorical, Gaussian, Joint, Mixture, Point, Posterior


class Head(nn.Module, ABC):
    """Maps the encoder's state to q(z|x); `label` is its name in tables."""

    label: ClassVar[str]

    @abstractmethod
    def forward(self, h: Tensor) -> Posterior:
        """q(z|x) for `h` (B, width)."""


class PointHead(Head):
    """z = W_m h + b."""

    label = "point"

    def __init__(self, width: int, latent_dim: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, latent_dim)

    def forward(self, h: Tensor) -> Point:
        """`h` (B, width)."""
        return Point(self.value(h))


class EmptyHead(Head):
    """The empty vector, for a model without latent variables."""

    label = "-"

    def forward(self, h: Tensor) -> Point:
        """`h` (B, anything)."""
        return Point(h.new_zeros(len(h), 0))


class GaussianHead(Head):
    """Mean and log-variance linear in h, or in LeakyReLU(0.01)(h)."""

    label = "Gaussian"

    def __init__(self, width: int, latent_dim: int, *, activate: bool = False) -> None:
        super().__init__()
        self.mean = nn.Linear(width, latent_dim)
        self.logvar = nn.Linear(width, latent_dim)
        self.activate = activate

    def forward(self, h: Tensor) -> Gaussian:
        """`h` (B, width)."""
        h = functional.leaky_relu(h) if self.activate else h
        return Gaussian(self.mean(h), self.logvar(h))


class CategoricalHead(Head):
    """Logits of M variables of K values, linear in h."""

    label = "categorical"

    def __init__(self, width: int, variables: int, values: int) -> None:
        super().__init__()
        self.logits = nn.Linear(width, variables * values)
        self.shape = (variables, values)

    def forward(self, h: Tensor) -> Categorical:
        """`h` (B, width)."""
        return Categorical(self.logits(h).unflatten(1, self.shape))


class JointHead(Head):
    """A categorical code and a Gaussian vector, independent given x."""

    label = "categorical × Gaussian"

    def __init__(self, code: CategoricalHead, gaussian: GaussianHead) -> None:
        super().__init__()
        self.code, self.gaussian = code, gaussian

    def forward(self, h: Tensor) -> Joint:
        """`h` (B, width)."""
        return Joint(self.code(h), self.gaussian(h))


class MixtureHead(Head):
    """q(z|x) Gaussian; q(c|x) = softmax of Linear, ReLU, Linear on h.

    There are `groups` indicators of `components` values.
    """

    label = "mixture"

    def __init__(self, width: int, groups: int, components: int, group_dim: int) -> None:
        super().__init__()
        self.gaussian = GaussianHead(width, groups * group_dim)
        self.code = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, groups * components)
        )
        self.shape = (groups, components)

    def forward(self, h: Tensor) -> Mixture:
        """`h` (B, width)."""
        gaussian = self.gaussian(h)
        return Mixture(
            gaussian.mean, gaussian.logvar, Categorical(self.code(h).unflatten(1, self.shape))
        )
