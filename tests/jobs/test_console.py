"""Names come from outside: a terminal, a page and a spreadsheet show them, and obey nothing."""

import io
import json
import logging
import re
import unicodedata

import numpy as np
import pytest
from PIL import Image

from jobs import console
from serving.stderr import PlainFormatter, visible
from tests.support.forkserver import ForkServer
from tests.support.workplace import Workplace
from tuning.report import leaderboard
from tuning.trial import Trial

HOSTILE = "x\x1b]0;PWNED\x07\x1b[2J[/b][red]y\n\u202egnp.toml"
SEEN = r"x\x1b]0;PWNED\x07\x1b[2J[/b][red]y\n\u202egnp.toml"


def unseen(text: str) -> set[str]:
    """Return the characters that a terminal obeys, of those that are no end of a line."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t"}


@pytest.mark.parametrize("name", ["cat [small]", "[red]x", "[/]", "[link=http://evil]b", ":smile:"])
def test_brackets_and_colons_in_names_are_no_markup(name, monkeypatch):
    page = io.StringIO()
    monkeypatch.setattr(console, "stdout", console.Terminal(file=page, width=100))
    console.print_table(name, ["file", "label"], [["image.png", name]])
    console.stdout.print(f"published: {name}")
    assert page.getvalue().count(name) == 3


def test_a_cell_is_one_line_that_shows_what_a_terminal_would_obey(monkeypatch):
    page = io.StringIO()
    monkeypatch.setattr(console, "stdout", console.Terminal(file=page, width=100))
    console.print_table("", ["file"], [[HOSTILE]])
    assert SEEN in page.getvalue()
    assert not unseen(page.getvalue())


def test_a_record_of_the_log_is_one_line_and_its_traceback_keeps_its_own():
    try:
        raise ValueError(HOSTILE)
    except ValueError as problem:
        record = logging.makeLogRecord({"msg": HOSTILE, "exc_info": (ValueError, problem, None)})
    first, second = PlainFormatter("%(message)s").format(record).split("\n", 1)
    assert first == SEEN
    assert second.startswith("ValueError: ")
    assert not unseen(second)


def test_what_can_be_seen_stays_as_it_is():
    text = "정상 é \u1112\u1161\u11ab ß €\t1\n"
    assert visible(text) == text


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", HOSTILE),
        ("run", "--resume", HOSTILE),
        ("run", "job.toml", "--set", f"{HOSTILE}=1"),
        ("run", "job.toml", "--set", f"model.name={HOSTILE}"),
        ("data", "check", HOSTILE),
        ("predict", HOSTILE, "--model", "x"),
        ("zoo", "show", HOSTILE),
        ("models", "show", HOSTILE),
        ("models", "import", HOSTILE, "--name", "x"),
        ("evaluate", HOSTILE),
        ("compare", HOSTILE, HOSTILE),
        ("tune", "show", HOSTILE),
        (HOSTILE,),
        ("run", f"--{HOSTILE}"),
    ],
    ids=lambda arguments: " ".join(arguments).replace(HOSTILE, "HOSTILE"),
)
def test_no_command_writes_what_a_terminal_would_obey(workplace: Workplace, arguments):
    done = workplace(*arguments)
    assert done.returncode not in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    assert "gnp" in re.sub(r"\W", "", done.stderr)  # however it is framed and wrapped
    assert not unseen(done.stdout + done.stderr)


CLASSES = ("cat [small]", "=1+1", "<script>alert(1)</script>".replace("/", "\\"), "dog\x1b[2J")


@pytest.mark.slow
def test_classes_of_any_name_are_trained_drawn_served_and_named(workplace: Workplace):
    draw = np.random.default_rng(0)
    for place, name in enumerate(CLASSES):
        directory = workplace.path / "photos" / name
        directory.mkdir(parents=True)
        for number in range(20):
            pixels = draw.integers(60 * place, 60 * place + 30, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(directory / f"{number}.png")
    (workplace.path / "photos.toml").write_text(
        'name = "photos"\n[data]\nsource = "folder:photos"\nimage_size = [16, 16]\nchannels = 3\n'
        '[model]\nname = "lenet5"\noptions = { activation = "relu" }\n'
        "[train]\nepochs = 8\nbatch_size = 16\nlearning_rate = 3e-3\n"
        "[publish]\nsettle_seconds = 0\n[bless]\nmin_accuracy = 0.3\n"
    )
    done = workplace("run", "photos.toml")
    assert done.returncode == 0, done.stderr
    shown = [done, workplace("models", "show", "photos"), workplace("data", "check", "photos.toml")]
    [run] = (workplace.path / "runs" / "photos").iterdir()
    shown.append(workplace("evaluate", str(run)))
    [image] = (workplace.path / "photos" / CLASSES[3]).glob("7.png")
    with workplace.serving() as address:
        asked = ("predict", str(image), "--model", "photos", "--address", address)
        shown.append(workplace(*asked))
        [answer] = workplace.result(*asked)
    assert answer["label"] in CLASSES
    assert json.loads(workplace("evaluate", str(run), "--json").stdout)
    for command in shown:
        assert command.returncode == 0, command.stderr
        assert not unseen(command.stdout + command.stderr)
    for page in workplace.path.rglob("*.html"):
        assert not re.search(r"<script>alert", page.read_text(encoding="utf-8"))


def test_a_spreadsheet_computes_nothing_of_a_leaderboard():
    trials = [Trial("0", "FAILED", {"model.name": "=1+1", "x": -0.5}, None, 1.0, "@SUM(A1)")]
    [_, row] = leaderboard(trials).splitlines()
    assert "'=1+1,-0.5,'@SUM(A1)" in row


def test_a_name_that_is_no_text_is_written_as_json_can_spell_it(forkserver: ForkServer):
    code = r"from jobs import console; console.print_json({'file': 'a\udcff.png'})"
    done = forkserver.run("-c", code)
    assert json.loads(done.stdout) == {"file": "a\udcff.png"}
