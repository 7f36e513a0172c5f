"""The numeric precision of training: chosen for the machine, set for a block, and put back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from trainer.config import PrecisionName
from trainer.flops import Cost

FAST_BFLOAT16_FLAGS = {
    "avx512_bf16",
    "amx_bf16",
}  # without them, a CPU emulates bfloat16 slower than float32

# Multiply-adds for each value that a layer writes. Processor time of a step in float32 over that in
# bfloat16, on two cores with AVX512_BF16: mlp on 4 features 0.99 (6 multiply-adds), lenet5 0.91 to
# 1.11 (18 to 26), mnist_cnn 1.4 to 1.6 (39), resnet18 at 32x32 1.4 (175), vgg11 1.8 to 1.9 (474),
# mlp of 512 units 1.15 to 1.28 (234). Below, casts and memory take what is gained.
LEAST_PER_VALUE = 32


def choose(precision: PrecisionName, count_cost: Callable[[], Cost]) -> tuple[str, str]:
    """Give the Keras dtype policy for a network on this machine, and one sentence that says why.

    The cost is counted only where the answer depends on it. Nothing is timed: equal jobs get equal
    answers on equal machines, so that their runs repeat bit for bit.
    """
    if precision != "auto":
        return precision, "set by the job"
    if gpus := tf.config.list_physical_devices("GPU"):
        details = map(tf.config.experimental.get_device_details, gpus)
        # The weakest of them: they share each batch, and all wait for the slowest.
        return for_gpu(min(found.get("compute_capability", (0, 0)) for found in details))
    if fast := FAST_BFLOAT16_FLAGS & cpu_flags():
        return for_cpu(", ".join(sorted(fast)), count_cost())
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


def for_cpu(flags: str, cost: Cost) -> tuple[str, str]:
    """Give the policy for a network on a CPU that has such flags, and why."""
    done = cost.multiply_adds / cost.values
    if done < LEAST_PER_VALUE:
        return (
            "float32",
            f"this network does {done:.0f} multiply-adds for each value between its layers, and "
            f"bfloat16 pays from {LEAST_PER_VALUE} on",
        )
    return "mixed_bfloat16", f"this CPU computes bfloat16 natively ({flags})"


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
