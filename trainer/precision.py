"""The numeric precision of training: chosen for the machine, set for a block, and put back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from trainer.config import PrecisionName

FAST_BFLOAT16_FLAGS = {
    "avx512_bf16",
    "amx_bf16",
}  # without them, a CPU emulates bfloat16 slower than float32


def choose(precision: PrecisionName) -> tuple[str, str]:
    """Give the Keras dtype policy for this machine, and one sentence that says why."""
    if precision != "auto":
        return precision, "set by the job"
    if gpus := tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpus[0])
        return for_gpu(details.get("compute_capability", (0, 0)))
    if fast := FAST_BFLOAT16_FLAGS & cpu_flags():
        return "mixed_bfloat16", f"this CPU computes bfloat16 natively ({', '.join(sorted(fast))})"
    return "float32", "no GPU, and this CPU has neither AVX512_BF16 nor AMX"


@contextmanager
def policy(name: str) -> Iterator[None]:
    """Make `name` Keras' dtype policy within the block, and restore the old one after it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Give the CPU's instruction set extensions, as Linux names them; empty elsewhere."""
    if not cpuinfo.exists():
        return set()
    lines = (line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    return set(next(lines, "").partition(":")[2].split())


def for_gpu(capability: tuple[int, int]) -> tuple[str, str]:
    """Give the policy for a compute capability (major, minor), and why."""
    major, minor = capability
    if major >= 8:
        return (
            "mixed_bfloat16",
            f"GPU of compute capability {major}.{minor}: float32's range, half the bytes",
        )
    if major >= 7:
        return (
            "mixed_float16",
            f"GPU of compute capability {major}.{minor}: tensor cores, with loss scaling",
        )
    return "float32", f"GPU of compute capability {major}.{minor} has no tensor cores"
