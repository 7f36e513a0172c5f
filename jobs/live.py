"""The model that is live now, asked about the test split that a new one is judged on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline import labels, trained
from pipeline.dataset import Splits
from serving.errors import StoreError
from serving.store import Store

BATCH = 64  # encoded images, decoded in the model's own graph


class NotComparable(Exception):
    """The live model cannot be asked about these data; the message says why."""


@dataclass(frozen=True)
class Live:
    """The answers of the live version to the test split, by the names of classes."""

    version: int
    class_names: tuple[str, ...]  # those that it knows
    guesses: np.ndarray  # str [N]
    seen: np.ndarray | None = None  # bool [N]: it was trained on them; None: it does not say

    @property
    def caveat(self) -> str:
        """Say what is not fair about a comparison; nothing where it is."""
        if self.seen is None:
            return (
                f"version {self.version} does not say what it was trained on, and may know some of "
                "them, which makes it look better; bless.compare = false publishes without"
            )
        count = int(self.seen.sum())
        return f"version {self.version} was trained on {count} more, left out" if count else ""


def ask_live(store: Store, name: str, data: Splits) -> Live | None:
    """Give the live version's answers; None when nothing is live.

    Images go in as files, so that a model of another image size can be asked as well. Raises
    NotComparable when it takes another kind of input, or cannot be loaded.
    """
    version = store.live(name)
    if version is None:
        return None
    feature = "image" if data.info.is_image else "features"
    try:
        path = store.path(name, version)
        answer = _answers(path, feature)
        extra = path / "assets.extra"
        names = labels.of_text((extra / "labels.txt").read_text(encoding="utf-8"))
        test = data.source.slices["test"]
        batches = test.read().map(lambda e: e[feature]).batch(BATCH)
        guesses = np.concatenate([answer(batch)["label"].numpy() for batch in batches])
        record = extra / trained.FILE_NAME
        known = trained.known(test.contents(), record.read_bytes()) if record.is_file() else None
    except (StoreError, OSError, ValueError, KeyError, tf.errors.OpError) as problem:
        first = str(problem).strip().partition("\n")[0]
        raise NotComparable(f"live version {version} cannot be asked: {first}") from None
    return Live(version, names, np.char.decode(guesses.astype(bytes), "utf-8"), known)


def _answers(path: Path, feature: str) -> Any:
    signature = "image_bytes" if feature == "image" else "serving_default"
    name = "image_bytes" if feature == "image" else "features"
    signatures = tf.saved_model.load(str(path)).signatures
    taken = signatures[signature].structured_input_signature[1] if signature in signatures else {}
    if name not in taken:
        raise ValueError(
            f"it has no signature {signature!r} that takes {name!r}, so it is another kind of "
            "model; publish under another name, or set bless.compare = false"
        )
    function = signatures[signature]
    return lambda batch: function(**{name: batch})
