"""How many steps of training TensorFlow takes in one call."""

SECONDS = 0.1  # of a call: a stop, a progress bar and a checkpoint wait no longer than that


class Pace:
    """Grows from one step to as many as fit in SECONDS, or keeps to a fixed number.

    A call costs half a millisecond of Python, a twentieth of a small network's step. How steps are
    dealt out to calls has no influence on what they compute.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self._steps = fixed or 1

    def steps(self, most: int) -> int:
        """Give how many steps to take now, at most `most`."""
        return min(self._steps, most)

    def took(self, steps: int, seconds: float) -> None:
        """Learn how long a call of so many steps took."""
        if self._fixed is None:
            fitting = int(SECONDS * steps / max(seconds, 1e-9))
            self._steps = max(1, min(fitting, 2 * self._steps))
