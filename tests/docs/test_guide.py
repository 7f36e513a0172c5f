"""The README and the guide: what they tell a reader to type and to write exists."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from typing import Any

import pytest
import typer

from jobs.cli import app
from jobs.config import load
from tests.support import guide
from tests.support.guide import Command, File
from tests.support.listed import README, REASONS, unrunnable

CONTROL = ("&&", "||", "|", ";", "&")
LANGUAGES = {"bash", "sh", "console", "toml", "python"}


@pytest.fixture(params=guide.PAGES, ids=guide.name)
def page(request):
    return request.param


@pytest.fixture
def steps(page):
    return guide.steps(page.read_text(encoding="utf-8"))


def simple_commands(line: str) -> list[list[str]]:
    """Cut a shell line into commands, each without the variables set before it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word in CONTROL:
            found.append([])
        elif found[-1] or not re.match(r"[A-Z_]+=", word):
            found[-1].append(word)
    return [words for words in found if words]


def parse(words: list[str]) -> dict[str, Any]:
    """Let convoy's own parser read a command; gives its parameters. Fails as convoy would."""
    command: Any = typer.main.get_command(app)
    context = None
    while True:
        context = command.make_context(command.name or "convoy", words, parent=context)
        waiting = [*getattr(context, "_protected_args", []), *context.args]
        if not hasattr(command, "commands") or not waiting:
            return context.params
        _, command, words = command.resolve_command(context, waiting)


def convoy_commands(steps):
    lines = [step.line for step in steps if isinstance(step, Command)]
    return [words[1:] for line in lines for words in simple_commands(line) if words[0] == "convoy"]


def launched(words: list[str]) -> list[str]:
    """Give the command that `convoy launch` runs in every worker; any other as it is."""
    if words[0] != "launch":
        return words
    return words[next(i for i, word in enumerate(words) if word in ("run", "train")) :]


def test_bash_reads_every_command(steps):
    for step in steps:
        if isinstance(step, Command):
            done = subprocess.run(["bash", "-n", "-c", step.line], capture_output=True, text=True)
            assert done.returncode == 0, f"{step.line}: {done.stderr}"


def test_convoy_has_every_command_and_option(steps):
    for words in convoy_commands(steps):
        assert parse(words), words


def test_every_job_is_one_with_the_settings_that_it_is_run_with(steps, tmp_path):
    written = {step.name for step in steps if isinstance(step, File)}
    shutil.copytree(guide.ROOT / "configs", tmp_path / "configs")
    for step in steps:
        if isinstance(step, File):
            (tmp_path / step.name).write_text(step.text, encoding="utf-8")
    for words in convoy_commands(steps):
        given = parse(launched(words))
        config = str(given.get("config") or "")
        if config.startswith("configs/") or config in written:
            space = given.get("space")
            load(tmp_path / config, given["set_"], tmp_path / str(space) if space else None)
        elif config and config != "show":
            assert config.startswith("runs/"), f"{words}: the page does not write {config}"


def test_runs_that_are_looked_at_were_made_by_an_earlier_command(page, steps):
    made = ""
    for step in steps:
        if isinstance(step, File):
            made += step.text
        elif not unrunnable(guide.name(page), step.line):
            for run in re.findall(r"runs/([\w-]+)/", step.line):
                name = run.removesuffix("-tune")
                known = f'name = "{name}"' in made or f"name={name}" in made
                assert known or f"configs/{name}.toml" in made, f"{step.line}: no run {run} yet"
        made += step.line if isinstance(step, Command) else ""


def test_every_block_says_its_language(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") % 2 == 0
    assert set(guide.languages(text)) <= LANGUAGES


def test_every_make_target_exists(steps):
    lines = [step.line for step in steps if isinstance(step, Command)]
    for words in (shlex.split(line) for line in lines if line.startswith("make ")):
        done = subprocess.run(
            ["make", "-n", *words[1:]], cwd=guide.ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_the_pictures_that_commands_leave_are_in_the_page(page):
    text = page.read_text(encoding="utf-8")
    for picture in guide.pictures(text):
        assert f"]({picture.path})" in text
        assert (page.parent / picture.path).is_file(), picture.path


def test_every_reason_for_not_running_a_command_is_needed():
    lines = [
        step.line
        for page in guide.PAGES
        for step in guide.steps(page.read_text(encoding="utf-8"))
        if isinstance(step, Command)
    ]
    for pattern in REASONS | README:
        assert any(re.search(pattern, line) for line in lines), pattern


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The guide as MkDocs builds it, warnings being errors."""
    place = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)],
        cwd=guide.ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return place


def test_the_site_has_every_page(site):
    pages = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")}
    sources = {path.relative_to(guide.DOCS).as_posix() for path in guide.DOCS.rglob("*.md")}
    assert pages - {"404.md"} == sources


def test_the_site_loads_nothing_from_elsewhere(site):
    loading = re.compile(r'<(?:script|img|iframe)[^>]*\ssrc="?(?:https?:)?//|<link[^>]*rel="?'
                         r'(?:stylesheet|preconnect|icon)"?[^>]*href="?(?:https?:)?//')  # fmt: skip
    for path in site.rglob("*.html"):
        assert not loading.search(path.read_text(encoding="utf-8")), path


def test_pages_fit_a_phone_and_show_their_pictures(site, chromium):
    for path in sorted(site.rglob("*.html")):
        if path.name != "404.html":  # which is made for the root of a server
            look = chromium.look(path, width=390)
            assert look.scroll_width <= look.inner_width, path
            assert all(image["width"] and image["alt"] for image in look.images), path
