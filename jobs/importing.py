"""Models that Convoy did not train, published with the signatures of those that it did."""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from jobs.leash import leash
from pipeline.augment_config import AugmentConfig
from pipeline.dataset import DataInfo
from pipeline.labels import distinct
from pipeline.preprocess import Scaling
from pipeline.standardize import Preparation
from serving.store import Store
from trainer import legacy, zoo
from trainer.export import export

IMAGENET_CLASSES = 1000
IMAGENET = "imagenet"
IMPORT_SECONDS = 900  # VGG19's 550 MB take 20
IMPORT_MEMORY = 0.5  # of what the machine has free


@dataclass(frozen=True)
class Origin:
    """What a file does not say of itself."""

    scaling: Scaling | None = None  # of the inputs that the model was trained on
    class_names: Sequence[str] = ()
    image_size: tuple[int, int] | None = None


def publish_file(path: Path, name: str, store: Store, origin: Origin) -> int:
    """Publish a Keras-2 model (.h5, Keras-2 .keras, SavedModel) and return its version.

    The file comes from elsewhere, so a process of its own reads it, for so long and with so much
    memory. TensorFlow's runtime must not have been started. Raises ValueError when the file is no
    such model, or takes more; StoreError when it cannot be published.
    """
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "export"

        def read() -> None:
            network, info = legacy.load(path, origin.class_names, origin.image_size)
            _export(network, info, origin.scaling or "none", name, target)

        _in_child(read, f"reading {path}")
        return store.publish(name, target)


def publish_application(architecture: str, name: str, store: Store, origin: Origin) -> int:
    """Publish an unmodified `applications/NAME` with its ImageNet weights.

    Its labels are class numbers, for `convoy predict --imagenet` to name. Keras fetches the weights
    where there is a network, else takes them from its cache. Raises ValueError for an unknown name,
    a size that it does not take, or another number of class names.
    """
    names = distinct(origin.class_names, architecture) or tuple(map(str, range(IMAGENET_CLASSES)))
    if len(names) != IMAGENET_CLASSES:
        raise ValueError(
            f"{architecture} has {IMAGENET_CLASSES} classes, not the {len(names)} named"
        )
    image_size = origin.image_size or (224, 224)
    network = zoo.build(architecture, image_size, 3, IMAGENET_CLASSES, weights=IMAGENET)
    info = DataInfo(architecture, IMAGENET, names, {}, (*image_size, 3))
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "export"
        _export(network, info, zoo.find(architecture).scaling, name, target)
        return store.publish(name, target)


def _export(network: Any, info: DataInfo, scaling: Scaling, name: str, target: Path) -> None:
    prepare = Preparation(info.shape, scaling, "antialias", AugmentConfig())
    card = {"name": name, "imported": info.source, "digest": info.digest}
    export(network, info, prepare, target, card)


def _in_child(work: Callable[[], None], what: str) -> None:
    """Do it in a forked process. Raises ValueError with its reason, or with ours for ending it."""
    context = multiprocessing.get_context("fork")
    news, sender = context.Pipe(duplex=False)
    child = context.Process(target=_report, args=(work, sender, os.getpid()), daemon=True)
    child.start()
    sender.close()
    try:
        problem = _problem(child.pid or 0, news, what)
    finally:
        child.kill()
        child.join()
    if problem:
        raise ValueError(problem)


def _problem(pid: int, news: Connection, what: str) -> str:
    """Return why a child has failed or has to be ended; empty when it has done its work."""
    end = time.monotonic() + IMPORT_SECONDS
    limit = IMPORT_MEMORY * _memory("/proc/meminfo", "MemAvailable")
    while not news.poll(0.1):
        if time.monotonic() > end:
            return f"{what} took more than {IMPORT_SECONDS} s"
        if _memory(f"/proc/{pid}/status", "VmRSS") > limit:
            return f"{what} took more than {limit / 1024:.0f} MB, half of the memory that is free"
    try:
        return news.recv_bytes().decode()
    except EOFError:
        return f"{what} ended the process that did it, so it is refused"


def _memory(file: str, name: str) -> int:
    """Return a figure in kB of the kernel's; 0 when it is not there."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return 0  # it has just ended
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def _report(work: Callable[[], None], sender: Connection, parent: int) -> None:
    leash(parent)
    problem = ""
    try:
        work()
    except (ValueError, OSError) as caught:
        problem = str(caught) or type(caught).__name__
    sender.send_bytes(problem.encode())
