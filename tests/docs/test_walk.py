"""Every page of the guide, walked through: its commands end well, in a reader's order."""

import pytest

from tests.support import guide
from tests.support.guide import Command
from tests.support.listed import unrunnable
from tests.support.walk import Walk

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
            if not isinstance(step, Command):
                reader.take(step)
            elif not unrunnable(name, step.line):
                done = reader.take(step)
                assert done
                assert done.code == 0, f"{step.line}\n{done.output}{done.errors}"
