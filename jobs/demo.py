"""What `convoy demo` needs beside the job itself: sample images."""

from pathlib import Path

import numpy as np
from PIL import Image

import pipeline
from jobs.config import Job


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
