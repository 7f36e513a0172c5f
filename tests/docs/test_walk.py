"""Every page of the guide, walked through: its commands end well, in a reader's order."""

import guide
import pytest
from guide import Command
from listed import unrunnable
from walk import Walk

FIRST = ("docs/start.md",)  # in test-slow; all the others in test-full
MACHINE = {  # pages that need what a machine may lack
    "docs/course/mnist.md": "/usr/share/datasets/fashion-mnist",
    "docs/course/transfer.md": "/usr/share/datasets/fashion-mnist",
    "README.md": "/usr/share/datasets/fashion-mnist",
}


def marked(page):
    mark = pytest.mark.slow if guide.name(page) in FIRST else pytest.mark.full
    return pytest.param(page, id=guide.name(page), marks=[mark, pytest.mark.timeout(1800)])


@pytest.mark.parametrize("page", [marked(page) for page in guide.PAGES])
def test_the_commands_of_a_page_end_well(page, tmp_path):
    name = guide.name(page)
    with Walk(tmp_path) as reader:
        for step in guide.steps(page.read_text(encoding="utf-8")):
            if isinstance(step, Command) and unrunnable(name, step.line):
                continue
            done = reader.take(step)
            if done is not None:
                assert done.code == 0, f"{step.line}\n{done.output}{done.errors}"
