"""How a stack lies in the world of the first volume, and how its grey values compare."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .geometry import PlaneStack


@dataclass(frozen=True, eq=False)  # arrays cannot be compared to one yes or no
class StackMotion:
    """Rigid motion and contrast of one stack against the first volume.  The default changes nothing.

    Attributes:
        matrix: (4, 4) rigid, LPS mm, carries points of the stack, as its header says, to the first volume's world.
        gain: see `bias`.
        bias: the first volume's grey value is (the stack's - bias) / gain.

    Example:
        >>> import numpy as np
        >>> matrix = np.eye(4)
        >>> matrix[:3, 3] = 1, 0, 0
        >>> planes = PlaneStack([[5, 0, 0]], row_step=[0, 2, 0], column_step=[1, 0, 0], rows=2, columns=3)
        >>> StackMotion(matrix).placed(planes).origins
        array([[6., 0., 0.]])
    """

    matrix: np.ndarray = field(default_factory=lambda: np.eye(4))
    gain: float = 1.0
    bias: float = 0.0

    def after(self, known: StackMotion) -> StackMotion:
        """Return both in one, where this was found of a stack after `known` had been done to it."""
        return StackMotion(np.asarray(self.matrix) @ known.matrix, known.gain * self.gain,
                           known.bias + known.gain * self.bias)

    def placed(self, planes: PlaneStack) -> PlaneStack:
        """Return the planes of the stack where they lie in the first volume's world."""
        return planes.transformed(self.matrix)
