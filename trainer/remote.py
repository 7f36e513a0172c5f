"""A component's arguments where its files lie elsewhere, such as in a bucket: worked on here."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

PATTERNS = ("train_files", "eval_files")
DIRECTORIES = ("working_dir", "model_run_dir", "serving_model_dir")
_places: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


def bring(fn_args: Any) -> Any:
    """Give the same arguments with local places: files are copied here, directories stand in.

    Arguments that are local already stay as they are.
    """
    local = copy.copy(fn_args)
    for name in PATTERNS:
        if patterns := getattr(fn_args, name):
            setattr(local, name, [_copied(pattern) for pattern in patterns])
    for name in DIRECTORIES:
        if _is_remote(place := getattr(fn_args, name)):
            setattr(local, name, str(_place() / Path(place).name))
    return local


def send(local: Any, fn_args: Any) -> None:
    """Copy what has been made in the local directories to where the arguments wanted it."""
    for name in DIRECTORIES:
        made, wanted = getattr(local, name), getattr(fn_args, name)
        if made != wanted:
            _upload(Path(made), wanted)


def _is_remote(place: str | None) -> bool:
    return place is not None and "://" in place


def _place() -> Path:
    _places.append(tempfile.TemporaryDirectory(prefix="convoy-"))
    return Path(_places[-1].name)


def _copied(pattern: str) -> str:
    """Give a pattern of local copies; the last directory keeps its name, which may say a split."""
    if not _is_remote(pattern):
        return pattern
    directory = _place() / Path(pattern).parent.name
    directory.mkdir()
    for path in tf.io.gfile.glob(pattern):
        tf.io.gfile.copy(path, str(directory / Path(path).name))
    return str(directory / "*")


def _upload(made: Path, wanted: str) -> None:
    for path in made.rglob("*"):
        if path.is_file():
            target = f"{wanted}/{path.relative_to(made).as_posix()}"
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            tf.io.gfile.copy(str(path), target, overwrite=True)
