"""A search in supervised processes against plain Keras Tuner in one process.

    python benchmarks/tune.py [--trials 8] [--epochs 10] [--rounds 1]

Three parties search the same job, digits through lenet5, where only the seed varies, so that every
trial costs the same:
  plain      Keras Tuner's RandomSearch, all trials in one process
  1 worker   convoy tune --workers 1: a process for each trial, with all cores
  2 workers  convoy tune --workers 2: two at a time, with half of the cores each
Wall time counts the whole command, start of Python and TensorFlow included, as a person waits for
it; CPU seconds are those of all its processes. Overhead is what a trial takes beyond its epochs:
the fork, the data, the network, its files.
"""

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measuring import claims  # beside this file
from measuring.claims import Claim, at_most

ROOT = Path(__file__).parents[1]
JOB = """
name = "equal"
[data]
source = "digits"
image_size = [32, 32]
channels = 1
data_dir = "{place}/data"
[model]
name = "lenet5"
options = {{ activation = "relu", batch_norm = true }}
[train]
epochs = {epochs}
batch_size = 32
early_stopping_patience = 1000
[tune]
max_trials = {trials}
warm_start = 0
space = {{ "train.seed" = {{ int = [0, 1000] }} }}
"""
PARTIES = ("plain", "1 worker", "2 workers")


@dataclass(frozen=True)
class Search:
    """What one search took, in seconds."""

    wall: float
    cpu: float  # of all its processes
    completed: int
    training: list[float]  # the epochs of each trial
    beyond: list[float]  # what each trial took beyond them; empty where it is not known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=10, help="of every trial")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    found: dict[str, list[Search]] = {party: [] for party in PARTIES}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        job = place / "job.toml"
        job.write_text(JOB.format(place=place, trials=options.trials, epochs=options.epochs))
        command("-m", "jobs", "data", "check", str(job), cwd=place)  # prepares the data
        for number in range(options.rounds):
            found["plain"].append(plain(job, place / f"plain{number}"))
            for workers in (1, 2):
                found[PARTIES[workers]].append(ours(job, workers))
    report(found, options.trials)


def plain(job: Path, directory: Path) -> Search:
    script = str(Path(__file__).parent / "parties" / "plain.py")
    wall, cpu, output = command(script, str(job), str(directory), cwd=job.parent)
    told = json.loads(output.splitlines()[-1])
    beyond = (told["seconds"] - sum(told["training"])) / len(told["training"])
    return Search(wall, cpu, len(told["training"]), told["training"], [beyond])


def ours(job: Path, workers: int) -> Search:
    arguments = ("-m", "jobs", "tune", str(job), "--workers", str(workers), "--json")
    wall, cpu, output = command(*arguments, cwd=job.parent)
    told = json.loads(output)
    trials = [trial for trial in told["trials"] if trial["state"] == "COMPLETED"]
    places = [job.parent / told["run"] / "trials" / trial["id"] for trial in trials]
    training = [epochs(place / "training" / "history.csv") for place in places]
    beyond = [t["seconds"] - spent for t, spent in zip(trials, training, strict=True)]
    return Search(wall, cpu, len(trials), training, beyond)


def epochs(history: Path) -> float:
    """The seconds of all epochs in a history."""
    with history.open() as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file))


def command(*arguments: str, cwd: Path) -> tuple[float, float, str]:
    """Run Python with arguments that must succeed; give seconds, CPU seconds, what it printed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    started, spent = time.perf_counter(), cpu_seconds()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - started, cpu_seconds() - spent, done.stdout


def cpu_seconds() -> float:
    """Of all processes that this one has started and waited for, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def report(found: dict[str, list[Search]], trials: int) -> None:
    """Print the table, the verdicts, and the same as JSON."""
    print(f"{'':12}{'wall s':>9}{'CPU s':>9}{'s/trial':>9}{'training':>10}{'beyond':>9}")
    for party, searches in found.items():
        wall = statistics.median(search.wall for search in searches)
        cpu = statistics.median(search.cpu for search in searches)
        training = statistics.median(t for search in searches for t in search.training)
        beyond = statistics.median(b for search in searches for b in search.beyond)
        print(f"{party:12}{wall:9.1f}{cpu:9.1f}{wall / trials:9.2f}{training:10.2f}{beyond:9.2f}")
    claims.report(verdicts(found, trials))


def verdicts(found: dict[str, list[Search]], trials: int) -> list[Claim]:
    """The claims; a ratio is the median over the rounds of what was measured in one round."""
    lost = sum(trials - s.completed for searches in found.values() for s in searches)
    beyond = statistics.median(b for search in found["1 worker"] for b in search.beyond)
    return [
        at_most("trials that did not complete", lost, 0),
        at_most("wall time of 2 workers as a share of 1's", share(found, "1 worker"), 0.8),
        at_most("wall time of 2 workers as a share of plain's", share(found, "plain"), 1.0),
        at_most("overhead of a trial beyond its epochs, 1 worker, s", beyond, 3.0),
    ]


def share(found: dict[str, list[Search]], of: str) -> float:
    pairs = zip(found["2 workers"], found[of], strict=True)
    return statistics.median(mine.wall / theirs.wall for mine, theirs in pairs)


if __name__ == "__main__":
    main()
