"""How noisy slices are, found in the slices themselves."""
from __future__ import annotations

import numpy as np

_NORMAL = 0.6744897501960817  # median of the absolute value of a normal number


def noise_of(image: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Estimate the standard deviation of noise that is independent from pixel to pixel.

    What is left of 2 x 2 pixels after both differences is noise nearly everywhere; the median does not see the rest
    (Donoho and Johnstone, Biometrika 81, 1994).

    Args:
        image: [plane, row, column].
        weights: likewise; pixels of weight 0 are not looked at.

    Returns:
        In units of `image`; 0 where nothing is left to look at.

    Example:
        >>> image = np.random.default_rng(0).normal(0.0, 3.0, (4, 64, 64))
        >>> round(noise_of(image), 1)
        3.0
    """
    corners = [slice(None, -1), slice(1, None)]
    squares = [image[:, rows, columns] for rows in corners for columns in corners]
    left = 0.5 * (squares[0] - squares[1] - squares[2] + squares[3])
    if weights is not None:
        left = left[np.min([weights[:, rows, columns] for rows in corners for columns in corners], axis=0) > 0]
    return float(np.median(np.abs(left)) / _NORMAL) if left.size else 0.0
