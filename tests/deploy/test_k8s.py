"""The Kubernetes manifests: valid for the API, and doing what their comments say."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from jobs import exits
from jobs.config import load
from tests.support.model_server_flags import FLAGS, names

K8S = Path(__file__).parent.parent.parent / "deploy" / "k8s"
OVERLAYS = sorted(path.parent.name for path in K8S.glob("*/kustomization.yaml"))
KEYS = ("mountPath", "name")  # what tells the entries of a list apart, in kustomize's order
Tree = dict[str, Any]


def documents(path: Path) -> list[Tree]:
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]


def merge(old: Any, new: Any) -> Any:
    """A strategic merge as kustomize makes it: of objects, and of lists whose entries have keys."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: merge(old.get(key), value) for key, value in new.items()}}
    if isinstance(old, list) and isinstance(new, list):
        for key in KEYS:
            if all(isinstance(entry, dict) and key in entry for entry in old + new):
                entries = {entry[key]: entry for entry in old}
                for entry in new:
                    entries[entry[key]] = merge(entries.get(entry[key]), entry)
                return list(entries.values())
    return new


def retag(tree: Any, images: list[Tree]) -> None:
    """Replace the images of all containers as a kustomization asks."""
    for container in containers(tree):
        name, _, tag = container["image"].partition(":")
        for image in images:
            if image["name"] == name:
                name = image.get("newName", name)
                container["image"] = f"{name}:{image.get('newTag', tag)}"
                break


def containers(tree: Any) -> Iterator[Tree]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in ("containers", "initContainers"):
                yield from value
            yield from containers(value)
    elif isinstance(tree, list):
        for entry in tree:
            yield from containers(entry)


def identity(found: Tree) -> tuple[str, str]:
    return found["kind"], found["metadata"]["name"]


def render(name: str) -> dict[tuple[str, str], Tree]:
    """The objects of a kustomization, as far as ours use its language."""
    directory = K8S / name
    (settings,) = documents(directory / "kustomization.yaml")
    found: dict[tuple[str, str], Tree] = {}
    for resource in settings["resources"]:
        if (directory / resource).is_dir():
            found |= render(str((directory / resource).resolve().relative_to(K8S)))
        else:
            found |= {identity(tree): tree for tree in documents(directory / resource)}
    for patch in settings.get("patches", []):
        (change,) = documents(directory / patch["path"])
        found[identity(change)] = merge(found[identity(change)], change)
    for tree in found.values():
        retag(tree, settings.get("images", []))
        if tree["kind"] != "Namespace":
            tree["metadata"]["namespace"] = settings["namespace"]
    return found


def pods(rendered: dict[tuple[str, str], Tree]) -> list[Tree]:
    """The pod templates among the objects."""
    found = []
    for (kind, _), tree in rendered.items():
        if kind == "CronJob":
            found.append(tree["spec"]["jobTemplate"]["spec"]["template"])
        elif kind in ("Deployment", "Job"):
            found.append(tree["spec"]["template"])
    return found


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_is_valid_for_the_api(name):
    for tree in render(name).values():
        kubernetes_validate.validate(tree, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kustomize_renders_what_we_validate(name):
    command = ["kubectl", "kustomize", str(K8S / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = {identity(tree): tree for tree in yaml.safe_load_all(done.stdout)}
    assert normal(render(name)) == normal(theirs)


def normal(rendered: dict[tuple[str, str], Tree]) -> Any:
    """Lists of named things in one order: kustomize puts additions first."""

    def ordered(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: ordered(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return sorted(map(ordered, value), key=lambda entry: json.dumps(entry, sort_keys=True))
        return value

    return {f"{kind}/{name}": ordered(tree) for (kind, name), tree in rendered.items()}


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_meet_the_restricted_standard(name):
    for pod in pods(render(name)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(spec):
            allowed = container["securityContext"]
            assert allowed["allowPrivilegeEscalation"] is False
            assert allowed["readOnlyRootFilesystem"] is True
            assert allowed["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_mount_what_is_there(name):
    rendered = render(name)
    around = render("base") | rendered
    for pod in pods(rendered):
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for container in containers(pod["spec"]):
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in around
            if settings := volume.get("configMap"):
                assert ("ConfigMap", settings["name"]) in around


@pytest.mark.parametrize("name", OVERLAYS)
def test_selectors_find_pods(name):
    rendered = render(name)
    labels = [pod["metadata"]["labels"] for pod in pods(rendered)]
    for (kind, _), tree in rendered.items():
        if kind in ("Service", "Deployment", "PodDisruptionBudget"):
            selector = tree["spec"]["selector"]
            chosen = selector.get("matchLabels", selector)
            assert any(chosen.items() <= found.items() for found in labels), identity(tree)


@pytest.mark.parametrize("name", ["base", "serving-tls", "gpu", "embedded"])
def test_servers_get_flags_that_tensorflow_serving_has(name):
    (server,) = render(name)["Deployment", "serving"]["spec"]["template"]["spec"]["containers"]
    assert names(server["args"]) <= FLAGS
    assert ("ssl_config_file" in names(server["args"])) == (name == "serving-tls")
    # TensorFlow Serving reads labels before it loads a version, and would not start on a store.
    assert "--allow_version_labels_for_unavailable_models=true" in server["args"]


@pytest.mark.parametrize(("name", "kind"), [("base", "CronJob"), ("multi-worker", "Job")])
def test_exit_codes_decide_whether_a_job_goes_on(name, kind):
    (tree,) = (tree for (found, _), tree in render(name).items() if found == kind)
    spec = tree["spec"].get("jobTemplate", tree)["spec"]
    actions = {}
    for rule in spec["podFailurePolicy"]["rules"]:
        for code in rule.get("onExitCodes", {}).get("values", []):
            actions[code] = rule["action"]
    hopeless = (exits.USAGE, exits.NOT_BLESSED, exits.DATA_REFUSED)
    assert actions == {**dict.fromkeys(hopeless, "FailJob"), exits.INTERRUPTED: "Ignore"}


def script(name: str, kind: str, work: Path) -> list[str]:
    """The command of a job's only container, for a volume that lies elsewhere."""
    (tree,) = (tree for (found, _), tree in render(name).items() if found == kind)
    (container,) = list(containers(tree))
    return [part.replace("/work", str(work)) for part in container["command"]]


def ran(command: list[str], work: Path, **environment: str) -> list[str]:
    """Run a container's command with a `convoy` that only says how it was called."""
    programs = work.parent / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "convoy").write_text('#!/bin/sh\necho "$*"\necho "$TF_CONFIG"\n')
    (programs / "convoy").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    done = subprocess.run(
        command, env={"PATH": path, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_pod_resumes_what_an_earlier_pod_of_its_job_left(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    command = script("base", "CronJob", work)
    (work / "runs" / "digits" / "last-week").mkdir(parents=True)  # unfinished, of another job
    fresh = "run /etc/convoy/job.toml --json"
    assert ran(command, work, JOB="monday")[0] == fresh
    left = work / "runs" / "digits" / "tonight"
    left.mkdir()
    later = (work / "runs" / ".monday").stat().st_mtime + 1
    os.utime(left, (later, later))
    assert ran(command, work, JOB="monday")[0] == "run --resume runs/digits/tonight/ --json"
    (left / "outcome.json").write_text("{}")
    os.utime(left, (later, later))
    assert ran(command, work, JOB="monday")[0] == fresh


@pytest.mark.parametrize("workers", [1, 2, 12])
def test_each_worker_knows_all_and_which_it_is(workers, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    command = script("multi-worker", "Job", work)
    told = ran(command, work, WORKERS=str(workers), JOB_COMPLETION_INDEX=str(workers - 1))
    cluster = json.loads(told[-1])
    hosts = [f"workers-{index}.workers:2222" for index in range(workers)]
    assert cluster["cluster"] == {"worker": hosts}
    assert cluster["task"] == {"type": "worker", "index": workers - 1}


def test_there_are_as_many_workers_as_each_is_told():
    job = render("multi-worker")["Job", "workers"]["spec"]
    (worker,) = job["template"]["spec"]["containers"]
    count = int({entry["name"]: entry["value"] for entry in worker["env"]}["WORKERS"])
    assert job["completions"] == job["parallelism"] == count
    assert job["template"]["spec"]["subdomain"] == "workers"


def test_the_job_of_the_config_map_is_one(tmp_path):
    text = render("base")["ConfigMap", "job"]["data"]["job.toml"]
    (tmp_path / "job.toml").write_text(text)
    job = load(tmp_path / "job.toml")
    assert job.publish.store == "/models"
    assert job.bless.min_accuracy > 0.9
