"""The GPUs that a process may use, known without loading TensorFlow."""

import os
from pathlib import Path


def visible_gpus() -> list[str]:
    """Give the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu.strip() not in ("", "-1")]
    count = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return [str(index) for index in range(count)]
