"""A Debian 13 with Convoy and TFX in it, where TFX runs: made once, in a place of its own."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SOURCE = (
    "pipeline", "trainer", "tuning", "serving", "jobs", "configs",
    "pyproject.toml", "README.md", "LICENSE", "requirements-tfx.lock",
)  # fmt: skip
PACKAGES = "python3,python3-venv,python3-dev,g++,ca-certificates"
ENTER = """
mount --bind /dev "$0/dev" && mount -t proc proc "$0/proc" && cp /etc/resolv.conf "$0/etc/" &&
exec chroot "$0" env HOME=/root PATH=/venv/bin:/usr/bin:/bin bash -c "cd '$1' && $2"
"""  # the mounts vanish with the process' own namespace
PATIENCE = 1200.0  # seconds for one command


@dataclass(frozen=True)
class Debian:
    """A system in a directory; commands in it see the host's network and processes."""

    root: Path

    def execute(self, command: str, place: str = "/") -> subprocess.CompletedProcess[str]:
        """Run a line of shell."""
        hidden = ("PYTHONPATH", "VIRTUAL_ENV", "PIP_FIND_LINKS", "CUDA_VISIBLE_DEVICES")
        environment = {k: v for k, v in os.environ.items() if k not in hidden}
        return subprocess.run(
            ["unshare", "--mount", "bash", "-c", ENTER, self.root, place, command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def must(self, command: str, place: str = "/") -> str:
        """Run a line of shell that must succeed, and give what it prints."""
        done = self.execute(command, place)
        assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
        return done.stdout

    def convoy(self, arguments: str, place: str, code: int = 0) -> dict[str, Any]:
        """Run a command that ends with this code, and give the JSON that it prints."""
        done = self.execute(f"convoy {arguments} --json", place)
        assert done.returncode == code, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    def directory(self, name: str) -> Path:
        """Make an empty directory in it."""
        path = self.root / "work" / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path


def make(debian: Debian) -> None:
    """Install the system and TFX; skips, saying why, where Debian's archive cannot be reached."""
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie"]
    done = subprocess.run([*command, str(debian.root)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"debootstrap made no Debian 13: {done.stdout.splitlines()[-1:]}")
    if CERTIFICATES.exists():  # an index behind an authority that only this machine knows
        shutil.copy(CERTIFICATES, debian.root / CERTIFICATES.relative_to("/"))
    install_source(debian)
    debian.must("python3 -m venv /venv")
    debian.must("pip install --quiet --constraint requirements-tfx.lock '.[tfx]'", "/src")


def install_source(debian: Debian) -> None:
    """Copy the project in, so that building it leaves the checkout as it is."""
    place = debian.root / "src"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name in SOURCE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, place / name)


@pytest.fixture(scope="session")
def debian() -> Iterator[Debian]:
    """The system that CONVOY_TFX_ROOT names, made by an earlier run, or a new one."""
    missing = [name for name in ("debootstrap", "unshare", "chroot") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and Debian's debootstrap: {missing=}")
    if kept := os.environ.get("CONVOY_TFX_ROOT"):
        system = Debian(Path(kept))
        if not (system.root / "venv").exists():
            make(system)
        install_source(system)
        system.must("pip install --quiet --no-deps --force-reinstall /src")
        yield system
        return
    with tempfile.TemporaryDirectory(prefix="convoy-trixie-", ignore_cleanup_errors=True) as place:
        Path(place).chmod(0o755)
        system = Debian(Path(place))
        make(system)
        yield system
