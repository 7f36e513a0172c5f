"""The directory of one run: its files by name, and which stages are done."""

import json
import math
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.config import Job, load
from jobs.exits import ConfigError
from pipeline.whole import clear, write_whole

if TYPE_CHECKING:
    from pipeline.profile import Profile

STATE = "state.json"
CONFIG = "config.toml"
DATA = "data.json"  # what the data check found, and what the data are
OUTCOME = "outcome.json"  # written last: a run that has one is finished
FINAL = ("published", "rolled_back", "trained")  # a model that was not blessed is judged again


class RunDir:
    """`runs/<name>/<UTC time>-<id>/`. Every file in it is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, root: Path, name: str, config_toml: str) -> "RunDir":
        """Make the directory of a new run and write its resolved job file."""
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = root / name / f"{moment}-{secrets.token_hex(3)}"
        try:
            return cls.begin(path, config_toml)
        except OSError:  # what has no state is no run, and would only be in the way
            clear(path)
            raise

    @classmethod
    def begin(cls, path: Path, config_toml: str) -> "RunDir":
        """Make this very directory, which an interrupted attempt may have left unfinished."""
        numbers = [_age(other)[0] for other in in_order(path.parent)]
        number = 1 + max((n for n in numbers if n < math.inf), default=0)
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        run.write(CONFIG, config_toml)
        run.write_json(STATE, {"number": number, "stages": {}, "running": None, "digest": None})
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """Open the directory of an earlier run. Raises ConfigError when it is none."""
        if not (path / STATE).is_file() or not (path / CONFIG).is_file():
            raise ConfigError(
                f"{path} is no run: expected a directory with {STATE} and {CONFIG}, as convoy "
                f"run makes"
            )
        return cls(path)

    def job(self) -> Job:
        """Read the run's resolved job file. Raises ConfigError when it is damaged."""
        return load(self / CONFIG)

    def discard(self) -> None:
        """Remove the run: it was refused before it did anything."""
        clear(self.path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write(self, name: str, text: str) -> None:
        """Replace a text file atomically."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Replace a file atomically."""
        write_whole(self.path / name, content)

    def write_json(self, name: str, value: Any) -> None:
        """Replace a JSON file atomically."""
        self.write(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> Any:
        """Read a JSON file."""
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def is_done(self, stage: str) -> bool:
        """Tell whether a stage ended, in this process or an earlier one."""
        return stage in self.read_json(STATE)["stages"]

    @property
    def digest(self) -> str | None:
        """The digest of the data that the run began with; None before they were prepared."""
        digest: str | None = self.read_json(STATE).get("digest")
        return digest

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that the run's network tells apart, in its order."""
        return tuple(self.read_json(DATA)["class_names"])

    def record_digest(self, digest: str) -> None:
        """Remember which data the run began with."""
        self.write_json(STATE, {**self.read_json(STATE), "digest": digest})

    def is_final(self) -> bool:
        """Tell whether the run has come to an end that a rerun cannot change."""
        path = self.path / OUTCOME
        return path.is_file() and self.read_json(OUTCOME)["status"] in FINAL

    def seconds(self) -> dict[str, float]:
        """Give the seconds that each finished stage took when it last ran."""
        stages = self.read_json(STATE)["stages"]
        return {name: stage["seconds"] for name, stage in stages.items()}

    def last_profile(self) -> "Profile | None":
        """Give the profile of the data that the last earlier run of this name has accepted.

        Refused data are no measure: the same bad data would not be noticed a second time.
        """
        from pipeline.profile import Profile

        for run in self.earlier(DATA):
            check = run.read_json(DATA)
            if check.get("ok") and (profile := check.get("profile")):
                return Profile(**profile)
        return None

    def earlier(self, name: str) -> "list[RunDir]":
        """Return the runs beside this one that began before it and have a file, newest first."""
        places = (path.parent for path in self.path.parent.glob(f"*/{name}"))
        earlier = [place for place in places if _age(place) < _age(self.path)]
        return [RunDir(place) for place in sorted(earlier, key=_age, reverse=True)]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block and record the stage as done when it ends without an exception.

        While the block runs, and after it failed, `running` in the state names the stage.
        """
        since = datetime.now(UTC).isoformat()
        self.write_json(STATE, {**self.read_json(STATE), "running": name, "since": since})
        started = time.perf_counter()
        yield
        state = self.read_json(STATE) | {"running": None}
        seconds = round(time.perf_counter() - started, 3)
        state["stages"][name] = {"seconds": seconds, "ended": datetime.now(UTC).isoformat()}
        self.write_json(STATE, state)


def in_order(directory: Path, name: str = STATE) -> list[Path]:
    """Return the runs of a directory that have a file, the newest last.

    The order is the one in which they were begun, as each has recorded it: a directory's name
    follows a clock that may have been wrong, and can be changed.
    """
    return sorted((path.parent for path in directory.glob(f"*/{name}")), key=_age)


def _age(run: Path) -> tuple[float, str, str]:
    """Return what runs are ordered by: number, earliest moment on record, name."""
    try:
        state = json.loads((run / STATE).read_bytes())
        stages, since = state["stages"].values(), state.get("since")
        moments = [stage["ended"] for stage in stages] + ([since] if since else [])
        number = int(state.get("number", 0))  # 0: begun before runs were numbered
        return number, min(moments, default=""), run.name
    except FileNotFoundError:  # it is only being made
        return math.inf, "", run.name
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0, "", run.name
