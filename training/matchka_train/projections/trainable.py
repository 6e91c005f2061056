"""What the training loop asks of a projection it can train."""

import torch

from matchka_train.errors import ProjectionError
from matchka_train.projections.affine import AffineProjection


class TrainableProjection(torch.nn.Module):
    """A projection with parameters: (rows, in_dim) -> (rows, full_dim).

    Attributes:
        is_affine: whether projecting a clip's mean equals the mean of its projected windows.
    """

    is_affine: bool = True

    def penalty(self) -> torch.Tensor:
        """What is added to the loss whatever the batch; 0 unless the family has a start to stay near."""
        return torch.zeros(())

    def exported(self) -> torch.nn.Module:
        """The projection as it is saved and served, in evaluation mode."""
        raise NotImplementedError


def affine_of(weight: torch.Tensor, bias: torch.Tensor) -> AffineProjection:
    """Freeze a matrix and an offset.

    Raises: ProjectionError: they are not finite.
    """
    return AffineProjection(weight.detach().numpy(), bias.detach().numpy())


def require_narrower(in_dim: int, full_dim: int, family: str) -> None:
    """Refuse a family that cannot widen.

    Raises: ProjectionError: full_dim > in_dim.
    """
    if full_dim > in_dim:
        raise ProjectionError(
            f"The {family} family cannot return more than the backbone's {in_dim} components.",
            value=full_dim,
            remedy="Lower the largest of dims.",
        )
