"""The examples for cron and systemd start commands that exist, and act on their exit codes."""

import re
import shlex
import shutil
import subprocess
from configparser import RawConfigParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from jobs import exits
from jobs.cli import app
from jobs.cron import WallClock

ROOT = Path(__file__).parents[2]
SCHEDULE = ROOT / "deploy" / "schedule"
UNITS = sorted(SCHEDULE.glob("convoy-*"))
PLACE = "/srv/convoy"


def unit(name: str) -> dict[str, dict[str, str]]:
    """Read a unit file by section and key."""
    parser = RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment]  # keys of units have capitals
    parser.read(SCHEDULE / name)
    return {section: dict(parser[section]) for section in parser.sections()}


def codes(service: str, key: str) -> set[int]:
    return set(map(int, unit(service)["Service"][key].split()))


def crontab() -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Give the variables of the crontab, and each line's times and command."""
    lines = (SCHEDULE / "crontab").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    planned = [line.split(maxsplit=5) for line in lines if not re.match(r"\w+=", line)]
    return settings, [(" ".join(words[:5]), words[5]) for words in planned]


def convoy_calls() -> list[list[str]]:
    """Give the words after `convoy` of every call in a unit, the crontab and the README."""
    texts = [unit(p.name)["Service"]["ExecStart"] for p in UNITS if p.suffix == ".service"]
    texts += [command for _, command in crontab()[1]]
    texts += re.findall(r"`(convoy [a-z].*?)`", (SCHEDULE / "README.md").read_text())
    texts = [re.split(r" >>|;|&& deploy", text)[0].rpartition("&& ")[2] for text in texts]
    words = [shlex.split(text) for text in texts]
    return [call[1:] for call in words if Path(call[0]).name == "convoy"]


def test_every_convoy_command_in_them_exists():
    calls = convoy_calls()
    assert {"run", "drift", "schedule"} <= {call[0] for call in calls}
    group: Any = get_command(app)
    for name, *words in calls:
        command = group.commands[name]
        command = command.commands["start"] if name == "schedule" else command
        allowed = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= allowed


def test_exit_codes_mean_what_they_say():
    run, drift = "convoy-run@.service", "convoy-drift@.service"
    assert codes(run, "SuccessExitStatus") == {exits.NOT_BLESSED}
    assert codes(run, "RestartForceExitStatus") == {exits.INTERRUPTED}
    assert codes(drift, "SuccessExitStatus") == {exits.DRIFTED}
    after = unit(drift)["Service"]["ExecStopPost"]
    assert f'"$EXIT_STATUS" != {exits.DRIFTED} ||' in after
    assert "start --no-block convoy-run@%i.service" in after
    assert f"[ $? -ne {exits.DRIFTED} ] || deploy/schedule/retrain.sh" in crontab()[1][1][1]


def test_a_timer_starts_the_service_of_its_name():
    for path in UNITS:
        if path.suffix == ".timer":
            assert unit(path.name)["Install"]["WantedBy"] == "timers.target"
            assert path.with_suffix(".service") in UNITS


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    program = tmp_path / ".venv" / "bin" / "convoy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in UNITS:
        text = path.read_text().replace(PLACE, str(tmp_path)).replace("User=convoy", "User=root")
        (tmp_path / path.name).write_text(text)
    names = [path.name.replace("@", "@digits") for path in UNITS]
    verify = ["systemd-analyze", "verify", "--man=no", *names]
    done = subprocess.run(verify, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_crontab_has_times_and_paths_that_exist():
    settings, planned = crontab()
    assert settings["PATH"].startswith(f"{settings['PLACE']}/.venv/bin:")
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    due = [WallClock(times, UTC).get_next_fire_time(None, moment) for times, _ in planned]
    assert due == [datetime(2026, 1, 2, 3, tzinfo=UTC), datetime(2026, 1, 1, 12, 15, tzinfo=UTC)]
    for _, command in planned:
        for path in re.findall(r"(?:deploy|configs)/\S+", command):
            assert (ROOT / path).is_file()


def retrain(tmp_path: Path, *results: int, tries: int = 5) -> tuple[int, int, str]:
    """Run the script on a program with these exit codes; give its own, the calls and its words."""
    program, calls = tmp_path / "convoy", tmp_path / "calls"
    left = tmp_path / "codes"
    left.write_text("".join(f"{code}\n" for code in results))
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{calls}\ncode=$(head -n 1 {left})\nsed -i 1d {left}\nexit $code\n'
    )
    program.chmod(0o755)
    settings = {"CONVOY": str(program), "RETRAIN_PAUSE": "0", "RETRAIN_TRIES": str(tries)}
    command = [str(SCHEDULE / "retrain.sh"), "job.toml", "--set", "train.epochs=2"]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", **settings}, capture_output=True, text=True
    )
    lines = calls.read_text().splitlines()
    assert set(lines) == {"run job.toml --set train.epochs=2"}
    return done.returncode, len(lines), done.stderr


@pytest.mark.parametrize(
    ("results", "code", "calls", "words"),
    [
        ((exits.PUBLISHED,), 0, 1, ""),
        ((exits.INTERRUPTED, exits.INTERRUPTED, exits.PUBLISHED), 0, 3, "it continues in 0 s"),
        ((exits.NOT_BLESSED,), 0, 1, "not blessed; the live model stays"),
        ((exits.DATA_REFUSED,), exits.DATA_REFUSED, 1, ""),
        ((exits.FAILED,), exits.FAILED, 1, ""),
    ],
)
def test_the_script_continues_what_was_interrupted_and_reports_what_failed(
    tmp_path: Path, results: tuple[int, ...], code: int, calls: int, words: str
):
    found = retrain(tmp_path, *results)
    assert found[:2] == (code, calls)
    assert words in found[2]


def test_the_script_gives_up_after_a_while(tmp_path: Path):
    assert retrain(tmp_path, *[exits.INTERRUPTED] * 9, tries=3)[:2] == (exits.INTERRUPTED, 3)


def test_the_cronjob_that_the_readme_names_is_there():
    documents = yaml.safe_load_all((ROOT / "deploy" / "k8s" / "base" / "retrain.yaml").read_text())
    assert "CronJob" in {document["kind"] for document in documents}
    assert "../k8s/base/retrain.yaml" in (SCHEDULE / "README.md").read_text()
