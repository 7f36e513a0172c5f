"""Models that Convoy did not train, published with the signatures of those that it did."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.augment_config import AugmentConfig
from pipeline.dataset import DataInfo
from pipeline.preprocess import Scaling
from pipeline.standardize import Preparation
from serving.store import Store
from trainer import legacy, zoo
from trainer.export import export

IMAGENET_CLASSES = 1000
IMAGENET = "imagenet"


@dataclass(frozen=True)
class Origin:
    """What a file does not say of itself."""

    scaling: Scaling | None = None  # of the inputs that the model was trained on
    class_names: Sequence[str] = ()
    image_size: tuple[int, int] | None = None


def publish_file(path: Path, name: str, store: Store, origin: Origin) -> int:
    """Publish a Keras-2 model (.h5, Keras-2 .keras, SavedModel) and return its version.

    Raises ValueError when the file is no such model, StoreError when it cannot be published.
    """
    network, info = legacy.load(path, origin.class_names, origin.image_size)
    return _publish(network, info, origin.scaling or "none", (name, store))


def publish_application(architecture: str, name: str, store: Store, origin: Origin) -> int:
    """Publish an unmodified `applications/NAME` with its ImageNet weights.

    Its labels are class numbers, for `convoy predict --imagenet` to name. Keras fetches the weights
    where there is a network, else takes them from its cache. Raises ValueError for an unknown name
    or a size that it does not take.
    """
    image_size = origin.image_size or (224, 224)
    network = zoo.build(architecture, image_size, 3, IMAGENET_CLASSES, weights=IMAGENET)
    names = tuple(origin.class_names) or tuple(map(str, range(IMAGENET_CLASSES)))
    info = DataInfo(architecture, IMAGENET, names, {}, (*image_size, 3))
    return _publish(network, info, zoo.find(architecture).scaling, (name, store))


def _publish(network: Any, info: DataInfo, scaling: Scaling, target: tuple[str, Store]) -> int:
    name, store = target
    prepare = Preparation(info.shape, scaling, "antialias", AugmentConfig())
    card = {"name": name, "imported": info.source, "digest": info.digest}
    with tempfile.TemporaryDirectory() as directory:
        return store.publish(name, export(network, info, prepare, Path(directory) / "export", card))
