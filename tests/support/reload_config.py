"""How TensorFlow Serving 2.20.0 takes a store's files, poll by poll, at its strictest.

Written from its sources: server_core.cc (ReloadConfig, UpdateModelVersionLabelMap),
file_system_storage_path_source.cc (PollFileSystemForConfig, PollFileSystemForServable) and
availability_preserving_policy.cc. `--allow_version_labels_for_unavailable_models` is on, as we run
it: it lets a label that is not in use point anywhere. Loading takes no time here.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving import catalog

Labels = dict[str, dict[str, int]]


@dataclass
class Production:
    """One server, which reads the store at `root`; versions in `broken` never load."""

    root: Path
    broken: set[int] = field(default_factory=set)
    labels: Labels = field(default_factory=dict)
    available: dict[str, set[int]] = field(default_factory=dict)
    models: list[Any] = field(default_factory=list)  # of the file that it took last
    refusal: str = ""

    def poll(self) -> None:
        """Look at models.config, and then at the directories of the models it has taken."""
        self.refusal = self._reload()
        self._poll_file_system()

    def answers(self, model: str, label: str | None = None) -> int | None:
        """Return the version that answers a request; None where it is refused."""
        there = self.available.get(model, set())
        if label is None:
            return max(there, default=None)
        version = self.labels.get(model, {}).get(label)
        return version if version in there else None

    def knows(self, model: str, version: int) -> bool:
        """Tell whether GetModelStatus lists a version, loaded or not."""
        found = [taken for taken in self.models if taken.name == model]
        wanted = found and version in found[0].model_version_policy.specific.versions
        return bool(wanted) or version in self.available.get(model, ())

    def _reload(self) -> str:
        path = self.root / catalog.CONFIG
        if not path.exists():
            return f"{path} not found"
        try:
            config = text_format.Parse(path.read_text(), ModelServerConfig())
        except text_format.ParseError as problem:
            return str(problem)
        if config.WhichOneof("config") is None:
            return ""  # an empty file is taken, and changes nothing
        models = list(config.model_config_list.config)
        for model in models:  # all labels of all models, before anything is loaded
            for label, version in model.version_labels.items():
                held = self.labels.get(model.name, {}).get(label, version)
                if held != version and version not in self.available.get(model.name, ()):
                    return (
                        f"Request to assign label to version {version} of model {model.name}, "
                        "which is not currently available for inference"
                    )
        self.labels = {model.name: dict(model.version_labels) for model in models}
        self.models = models
        for name in self.available.keys() - {model.name for model in models}:
            del self.available[name]
        return ""

    def _poll_file_system(self) -> None:
        aspired: dict[str, set[int]] = {}
        for model in self.models:
            base = catalog.local_path(model.base_path, self.root)
            if not base.exists():
                return  # of the models before it, too, nothing was emitted yet
            children = {int(path.name) for path in base.iterdir() if path.name.isdecimal()}
            aspired[model.name] = children & set(model.model_version_policy.specific.versions)
        for name, versions in aspired.items():
            loaded = self.available.get(name, set()) | (versions - self.broken)
            # Of old versions none goes before one of the new ones has come.
            self.available[name] = loaded & versions or (loaded if versions else set())
