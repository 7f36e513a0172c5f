"""How much each dimension of a search matters for the score."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from tuning.trial import Trial

FEWEST = 6  # trials; with fewer, chance alone makes any dimension look important
TREES = 100
REPEATS = 10


def importances(trials: Sequence[Trial], paths: Sequence[str]) -> dict[str, float]:
    """Give the share of each dimension in explaining the scores, most important first; sum 1.

    A random forest is fitted to the scores; a dimension matters as much as its predictions get
    worse when that dimension is shuffled (Breiman 2001, "Random Forests"). All are 0 where the
    scores are equal.
    """
    scores = np.array([trial.score for trial in trials], dtype=np.float64)
    features = np.stack([as_numbers([t.values.get(p) for t in trials]) for p in paths], axis=1)
    forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=0)
    forest.fit(features, scores)
    found = permutation_importance(forest, features, scores, n_repeats=REPEATS, random_state=0)
    drops = np.maximum(found.importances_mean, 0.0)
    shares = drops / drops.sum() if drops.sum() > 0 else drops
    order = np.argsort(-shares, kind="stable")
    return {paths[index]: float(shares[index]) for index in order}


def as_numbers(values: Sequence[Any]) -> np.ndarray:
    """Give values of one dimension as floats [N]: numbers as they are, others by their order.

    A value that a trial does not have is -1 below the lowest.
    """
    present = [value for value in values if value is not None]
    if all(isinstance(value, int | float) for value in present):
        lowest = min(map(float, present), default=0.0)
        return np.array([lowest - 1 if v is None else float(v) for v in values])
    names = sorted(set(map(str, present)))
    return np.array([-1.0 if v is None else float(names.index(str(v))) for v in values])
