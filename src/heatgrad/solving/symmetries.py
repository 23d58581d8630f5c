"""Symmetries of laws: maps of the square that take solutions to other solutions, as likely."""

from collections.abc import Callable, Mapping

from torch import Tensor

__all__ = ["SYMMETRIES", "copies_of", "num_copies_of"]

Fields = dict[str, Tensor]
Symmetry = Callable[[Mapping[str, Tensor], int, int], Fields]


def square_copy(fields: Mapping[str, Tensor], copy: int, num_copies: int) -> Fields:
    """Return fields turned or mirrored by one of the eight symmetries of the square.

    Example:
        >>> import torch
        >>> x = torch.arange(4.0).reshape(1, 2, 2)
        >>> square_copy({"a": x}, 1, 8)["a"][0].tolist()
        [[2.0, 3.0], [0.0, 1.0]]
    """
    which = copy % 8
    found = dict(fields)
    if which & 1:
        found = {name: field.flip(-2) for name, field in found.items()}
    if which & 2:
        found = {name: field.flip(-1) for name, field in found.items()}
    if which & 4:
        found = {name: field.transpose(-1, -2) for name, field in found.items()}
    return found


def shifted_copy(fields: Mapping[str, Tensor], copy: int, num_copies: int) -> Fields:
    """Return vorticities shifted along the lines on which the force of the torus is constant.

    That force depends on x + y alone, so a shift by (s, -s) takes a flow to a flow; so does half a
    turn with a quarter of the side, which odd copies take too. Shifts are spread evenly.

    Example:
        >>> import torch
        >>> x = torch.eye(4).unsqueeze(0)
        >>> shifted_copy({"w0": x}, 2, 4)["w0"][0, 0].tolist()
        [1.0, 0.0, 0.0, 0.0]
    """
    n = next(iter(fields.values())).shape[-1]
    shift = copy * n // num_copies
    found = {name: field.roll((shift, -shift), (-2, -1)) for name, field in fields.items()}
    if copy % 2 and n % 4 == 0:  # sin and cos of x + y change places, and back by the turn
        found = {k: v.flip((-2, -1)).roll((1 + n // 4, 1), (-2, -1)) for k, v in found.items()}
    return found


SYMMETRIES: dict[str, Symmetry] = {
    "poisson": square_copy,
    "helmholtz": square_copy,
    "darcy": square_copy,
    "navier-stokes": shifted_copy,
}
"""The symmetries of the problems that have a name."""


def copies_of(problem: str, fields: Mapping[str, Tensor], copy: int, num_copies: int) -> Fields:
    """Return one of the copies of fields by the symmetries of their law.

    Args:
        problem: A name of `PROBLEMS`; one's own has no known symmetry, and one copy.
        fields: Of the law, each of shape (num, n, n).
        copy: Which, from 0; copy 0 is the fields themselves.
        num_copies: How many there are in all.

    Example:
        >>> import torch
        >>> x = torch.eye(3).unsqueeze(0)
        >>> bool((copies_of("darcy", {"a": x}, 0, 8)["a"] == x).all())
        True
    """
    if copy == 0 or problem not in SYMMETRIES:
        return dict(fields)
    return SYMMETRIES[problem](fields, copy, num_copies)


def num_copies_of(problem: str, wanted: int) -> int:
    """Return how many copies there can be: one, of a problem whose symmetries are not known.

    Example:
        >>> num_copies_of("darcy", 8), num_copies_of("mine:Equation", 8)
        (8, 1)
    """
    return wanted if problem in SYMMETRIES else 1
