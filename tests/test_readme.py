"""The README's commands exist as they are written there."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from jobs.cli import app
from jobs.config import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
CONVOY = sorted({line for line in SHELL if line.startswith("convoy ")})
MAKE = sorted({line for line in SHELL if line.startswith("make ")})


@pytest.mark.parametrize("line", CONVOY)
def test_every_command_and_option_exists(line):
    command = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert command.name != "convoy", f"{line}: no such command"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    for word in words:
        if word.startswith("configs/"):
            load(ROOT / word)


@pytest.mark.parametrize("line", MAKE)
def test_every_make_target_exists(line):
    target = line.split()[1]
    dry = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert dry.returncode == 0, dry.stderr


def test_the_job_file_of_the_readme_is_one(tmp_path):
    text = re.search(r"```toml\n(.*?)```", README, re.DOTALL).group(1)
    (tmp_path / "job.toml").write_text(text)
    assert load(tmp_path / "job.toml").model.options == {"activation": "relu"}


def test_the_files_it_links_to_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
