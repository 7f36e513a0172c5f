"""Writes into pages of the guide what their commands really print, and takes their pictures.

python -m tests.docs.record docs/course/lenet.md ...
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.support import guide, walk
from tests.support.chromium import Chromium
from tests.support.listed import unrunnable

LONGEST = 34  # lines of output that are shown whole
HEAD, TAIL = 16, 16  # of those that are not
WIDTH = 820  # pixels of a page's picture
HEIGHT = 1500  # pixels of it that are kept


def record(page: Path) -> None:
    """Run a page and write it anew. Raises RuntimeError when a command fails."""
    text = page.read_text(encoding="utf-8")
    shown: list[tuple[int, int, str]] = []
    with tempfile.TemporaryDirectory() as place, walk.Walk(Path(place)) as reader:
        for step in guide.steps(text):
            if isinstance(step, guide.Command) and unrunnable(guide.name(page), step.line):
                continue
            began = walk.clock()
            done = reader.take(step)
            if done is None or not isinstance(step, guide.Command):
                continue
            sys.stderr.write(f"{walk.clock() - began:6.1f} s  {step.line}\n")
            if done.code:
                raise RuntimeError(f"{step.line}: code {done.code}\n{done.output}{done.errors}")
            if step.end > step.start or "console" in text[: step.start].rpartition("```")[2]:
                shown.append((step.start, step.end, _output(done)))
        _keep_pictures(page, text, Path(place))
    for start, end, output in reversed(shown):
        text = text[:start] + output + text[end:]
    page.write_text(text, encoding="utf-8")


def _output(done: walk.Done) -> str:
    lines = [line.rstrip() for line in (walk.error_lines(done.errors) + done.output).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) > LONGEST:
        lines = [*lines[:HEAD], "...", *lines[-TAIL:]]
    return "".join(f"{line}\n" for line in lines)


def _keep_pictures(page: Path, text: str, place: Path) -> None:
    for wanted in guide.pictures(text):
        source = walk.oldest(place, wanted.source)
        target = (page.parent / wanted.path).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        picture = _open(source)
        picture.quantize(64).save(target, "PNG", optimize=True)
        sys.stderr.write(f"{target}: {target.stat().st_size / 1024:.0f} KiB\n")


def _open(source: Path) -> Image.Image:
    if source.suffix != ".html":
        picture = Image.open(source).convert("RGB")
        picture.thumbnail((1600, 1600))
        return picture
    place = Path(tempfile.mkdtemp())
    browser = Chromium(place)
    whole = Image.open(io.BytesIO(browser.picture(source, WIDTH))).convert("RGB")
    browser.close()
    return whole.crop((0, 0, whole.width, min(whole.height, HEIGHT)))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        record(Path(argument).resolve())
