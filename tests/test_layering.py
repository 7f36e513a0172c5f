"""Which package may import what: the import rules of CONTRIBUTING.md, read from the source."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "trainer", "tuning", "serving", "jobs")
MAY_IMPORT = {
    "pipeline": set(),
    "trainer": {"pipeline"},
    "tuning": {"pipeline", "trainer"},
    "serving": set(),
    "jobs": {"pipeline", "trainer", "tuning", "serving"},
}
FENCES = {  # third-party module -> the places that may import it
    "tensorflow_datasets": ("pipeline/sources/",),
    "sklearn.datasets": ("pipeline/sources/",),
    "tf_keras": ("trainer/legacy.py", "trainer/allowlist.py"),
    "keras_tuner": ("tuning/",),
    "grpc": ("serving/", "tuning/connection.py", "tuning/service.py"),
    "tensorflow_serving": ("serving/",),
    "typer": ("jobs/",),
    "rich": ("jobs/",),
    "tomllib": ("jobs/",),
    "tomli_w": ("jobs/",),
    "apscheduler": ("jobs/",),
    "cryptography": ("serving/",),
    "tfx": ("jobs/tfx_pipeline/",),
    "ml_metadata": ("jobs/tfx_pipeline/",),
    "tensorflow_model_analysis": ("jobs/tfx_pipeline/",),
    "kfp": ("jobs/tfx_pipeline/",),
}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module that the file imports, at any depth, as a full dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(module: str, fence: str) -> bool:
    return module == fence or module.startswith(f"{fence}.")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_packages_import_only_what_their_row_allows(path):
    package = relative(path).split("/")[0]
    ours = {module.split(".")[0] for module in imports(path)} & set(PACKAGES)
    assert ours <= MAY_IMPORT[package] | {package}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_third_party_modules_stay_behind_their_fences(path):
    modules = set(imports(path))
    for fence, places in FENCES.items():
        if any(is_within(module, fence) for module in modules):
            assert relative(path).startswith(places), f"{fence} belongs into {places}"


@pytest.mark.parametrize("path", sorted((ROOT / "trainer" / "zoo").glob("*.py")), ids=relative)
def test_the_zoo_knows_keras_and_not_tensorflow(path):
    assert not [module for module in imports(path) if is_within(module, "tensorflow")]


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_only_jobs_reads_the_environment(path):
    if relative(path).startswith("jobs/"):
        return
    source = ast.parse(path.read_text(encoding="utf-8"))
    read = [n for n in ast.walk(source) if isinstance(n, ast.Attribute) and n.attr == "environ"]
    assert not read


def test_every_import_is_a_declared_dependency():
    """A package that only comes along with another may vanish with its next release."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    names = {"sklearn": "scikit-learn", "PIL": "pillow", "grpc": "grpcio", "google": "protobuf"}
    names |= {"grpc_health": "grpcio-health-checking", "grpc_reflection": "grpcio-reflection"}
    names |= {"kfp": "kfp-pipeline-spec"}
    tops = {module.split(".")[0] for path in FILES for module in imports(path)}
    optional = {"apache_beam"}  # named in the error that its absence gives
    optional |= {"ml_metadata", "tensorflow_model_analysis"}  # tfx declares their exact releases
    foreign = tops - set(PACKAGES) - set(sys.stdlib_module_names) - optional
    missing = [t for t in foreign if f'"{names.get(t, t).replace("_", "-")}' not in pyproject]
    assert not missing
