"""Random directories of images as people have them, with what else gets into them."""

import os
import tarfile
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests.support.mutations import encode

CLASSES = ("cat", "고양이", "개", "naïve café", "кошка", "猫", "قطة", "ねこ", "a b", "[cat]")
SPLITS = (("",), ("train", "test"), ("Training", "val", "test"))
FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
FORMATS = {".png": "PNG", ".JPG": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WebP"}
CLUTTER = ("._0.png", ".DS_Store", "Thumbs.db")  # no file of anyone: it is not counted
LINKS = ("dead", "file", "around", "away", "pipe")
ODD = {
    "notes.txt": b"words",
    "README": b"",
    "é.json": b"{}",
    "cut.png": b"\x89PNG\r\n\x1a\n",
    "words.jpg": b"these are words",
    "empty.gif": b"",
    "[red].bmp": b"BM",
    ".hidden/picture.png": b"\x89PNG",
    ".png": b"a name without an ending",
}


@dataclass(frozen=True)
class Tree:
    """Files by their paths, and links: path -> kind."""

    files: dict[str, bytes]
    links: dict[str, str]

    def __repr__(self) -> str:
        return f"Tree({sorted(self.files)}, {self.links})"

    def count(self) -> int:
        """Return how many files there are: those that a person put there."""
        return sum(Path(path).name not in CLUTTER for path in [*self.files, *self.links])

    def has_loose_images(self) -> bool:
        """Tell whether files lie beside the classes that are images by their names."""
        loose = (Path(path) for path in self.files if "/" not in path)
        return any(path.suffix in FORMATS or path.suffix == ".jpg" for path in loose)

    def write(self, root: Path, elsewhere: Path) -> None:
        """Write the tree; links away lead to `elsewhere`, which holds one image."""
        elsewhere.mkdir(parents=True)
        root.mkdir()
        (elsewhere / "away.png").write_bytes(picture(999, ".png"))
        for path, content in self.files.items():
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        for path, kind in self.links.items():
            _link(root / path, kind, root, elsewhere)

    def pack(self, path: Path, wrapper: str) -> Path:
        """Write the files into an archive, below a path."""
        named = {f"{wrapper}{name}": content for name, content in self.files.items()}
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as packed:
                for name, content in named.items():
                    packed.writestr(name, content)
            return path
        loose = path.with_suffix(".loose")
        with tarfile.open(path, "w") as packed:
            for name, content in named.items():
                loose.write_bytes(content)
                packed.add(loose, name)
        return path


def _link(path: Path, kind: str, root: Path, elsewhere: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        away = {"around": root, "away": elsewhere, "file": elsewhere / "away.png"}
        path.symlink_to(away.get(kind, Path("/nowhere")))


def picture(seed: int, suffix: str) -> bytes:
    """Return a small image that is like no other."""
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return encode(Image.fromarray(pixels), FORMATS[suffix])


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Draw a tree: two classes or more, of four images or more, and odd things anywhere."""
    splits = draw(st.sampled_from(SPLITS))
    names = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    places = []  # directories that a class's files may lie in
    for split in splits:
        for name in names:
            for form in draw(st.sets(st.sampled_from(FORMS), min_size=1)):
                top = Path(split) / unicodedata.normalize(form, name)
                places += [top, top / draw(st.sampled_from((".", "2024", "a/b/c")))]
    files, seed = {}, 0
    for place in dict.fromkeys(places):
        for suffix in draw(st.lists(st.sampled_from(list(FORMATS)), min_size=4, max_size=6)):
            seed += 1
            files[(place / f"{seed}{suffix}").as_posix()] = picture(seed, suffix)
    anywhere = st.sampled_from(["", *splits, *(place.as_posix() for place in places)])
    for name in draw(st.lists(st.sampled_from([*ODD, *CLUTTER]), max_size=8)):
        files[(Path(draw(anywhere)) / name).as_posix()] = ODD.get(name, b"clutter")
    within = st.sampled_from([place.as_posix() for place in places])
    kinds = draw(st.lists(st.sampled_from(LINKS), max_size=5))
    links = {f"{draw(within)}/link{i}.png": kind for i, kind in enumerate(kinds)}
    return Tree(files, links)
