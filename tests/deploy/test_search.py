"""The Kubernetes overlay of a search on several machines, beside what test_k8s.py holds for all."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs import exits
from jobs.oracle import Post, read_post

SEARCH = Path(__file__).parent.parent.parent / "deploy" / "k8s" / "search"


def object_of(kind: str, name: str) -> Any:
    (found,) = (
        tree
        for path in SEARCH.glob("*.yaml")
        for tree in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if tree["kind"] == kind and tree["metadata"]["name"] == name
    )
    return found


def container(job: str) -> Any:
    (found,) = object_of("Job", job)["spec"]["template"]["spec"]["containers"]
    return found


def variables(job: str, **given: str) -> dict[str, str]:
    """A pod's variables as Kubernetes sets them; `given` are those that come from the pod."""
    found: dict[str, str] = {}
    for entry in container(job)["env"]:
        value = entry["value"] if "value" in entry else given[entry["name"]]
        for name, known in found.items():
            value = value.replace(f"$({name})", known)
        found[entry["name"]] = value
    return found


def test_chief_and_workers_know_each_other():
    service = object_of("Service", "search-chief")
    labels = object_of("Job", "search-chief")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels
    chief = read_post(variables("search-chief", JOB="u1", KERASTUNER_ORACLE_IP="10.1.2.3"), True)
    worker = read_post(variables("search-workers", INDEX="2"), chief=False)
    [port] = service["spec"]["ports"]
    assert chief == Post(f"10.1.2.3:{port['port']}", None)
    assert worker == Post(f"{service['metadata']['name']}:{port['port']}", "worker2")


def test_workers_may_reach_the_chief_and_nobody_else_may():
    policy = object_of("NetworkPolicy", "search-chief")["spec"]
    template = object_of("Job", "search-workers")["spec"]["template"]
    [rule] = policy["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": template["metadata"]["labels"]}}]
    [open_port] = container("search-chief")["ports"]
    assert [port["port"] for port in rule["ports"]] == [open_port["containerPort"]]


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (
            "search-chief",
            {exits.FAILED: "FailJob", exits.USAGE: "FailJob", exits.INTERRUPTED: "Ignore"},
        ),
        ("search-workers", {exits.USAGE: "FailJob"}),
    ],
)
def test_exit_codes_decide_whether_a_pod_takes_over(job, expected):
    actions = {}
    for rule in object_of("Job", job)["spec"]["podFailurePolicy"]["rules"]:
        for code in rule.get("onExitCodes", {}).get("values", []):
            actions[code] = rule["action"]
    assert actions == expected


def called(work: Path, job: str) -> str:
    """Run the chief's script with a `convoy` that only says how it was called."""
    programs = work.parent / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "convoy").write_text('#!/bin/sh\necho "$*"\n')
    (programs / "convoy").chmod(0o755)
    command = [part.replace("/work", str(work)) for part in container("search-chief")["command"]]
    path = f"{programs}:{os.environ['PATH']}"
    done = subprocess.run(
        command, env={"PATH": path, "JOB": job}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def make_search(work: Path, name: str, after: Path) -> None:
    run = work / "runs" / "digits-tune" / name
    run.mkdir(parents=True)
    for file in ("config.toml", "state.json"):
        (run / file).touch()
        later = after.stat().st_mtime + 1
        os.utime(run / file, (later, later))


def test_a_chief_s_pod_takes_up_the_search_of_its_own_job_alone(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    fresh = "tune /etc/convoy/job.toml --chief --json"
    assert called(work, "first") == fresh
    make_search(work, "monday", after=work / "runs" / ".first")
    again = "tune --resume runs/digits-tune/monday/ --chief --json"
    assert called(work, "first") == again
    (work / "runs" / ".second").touch()
    late = (work / "runs" / ".first").stat().st_mtime + 5
    os.utime(work / "runs" / ".second", (late, late))
    assert called(work, "second") == fresh
