"""What `convoy demo` needs beside the job itself: sample images, and a server of its own to ask."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

import pipeline
from jobs.config import Job
from jobs.exits import FAILED, CommandError

LISTENING = re.compile(r"listening grpc=(\S+) rest=\S+")
STOP_SECONDS = 30


def write_samples(job: Job, directory: Path, count: int) -> list[Path]:
    """Write the first images of the test split as PNG files named by their true label."""
    data = pipeline.load(job.data, count, scaling="none")
    images, labels = next(iter(data.test))
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, (image, label) in enumerate(zip(images.numpy(), labels.numpy(), strict=True)):
        path = directory / f"{index}-is-{data.info.class_names[label]}.png"
        Image.fromarray(np.squeeze(image.astype(np.uint8))).save(path)
        paths.append(path)
    return paths


@contextmanager
def embedded_server(store: str) -> Iterator[str]:
    """Serve a store in a process of its own for the length of the block; gives the gRPC address."""
    command = [
        sys.executable,
        "-m",
        "jobs",
        "serve",
        "--store",
        store,
        "--port",
        "0",
        "--rest-port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield _address(server)
        finally:
            server.terminate()
            server.wait(STOP_SECONDS)


def _address(server: "subprocess.Popen[str]") -> str:
    for line in server.stdout or []:
        if match := LISTENING.match(line):
            return match.group(1)
    raise CommandError(
        f"the embedded server ended with code {server.wait()} before it listened", FAILED
    )
