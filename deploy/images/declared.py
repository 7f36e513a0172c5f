"""Print what pyproject.toml declares, with the extras that are named: a layer before the code."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
for requirement in [*project["dependencies"], *(r for name in sys.argv[1:] for r in extras[name])]:
    print(requirement)
