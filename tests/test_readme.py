"""What the README shows beside its commands, which tests/docs holds like those of the guide."""

import re
from pathlib import Path

from jobs.config import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_job_file_of_the_readme_is_one(tmp_path):
    found = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert found
    (tmp_path / "job.toml").write_text(found.group(1))
    assert load(tmp_path / "job.toml").model.options == {"activation": "relu"}


def test_the_files_it_links_to_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
