from functools import partial

import keras
import pytest

from trainer import flops, precision, zoo


def test_auto_finds_native_bfloat16_in_the_flags_of_the_cpu(tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16\n\nprocessor\t: 1\n"
    )
    assert precision.cpu_flags(cpuinfo) == {"fpu", "avx2", "avx512_bf16", "amx_bf16"}
    assert precision.cpu_flags(tmp_path / "none") == set()


def cost_of(name: str, **options) -> flops.Cost:
    return flops.estimate(lambda: zoo.build(name, num_classes=10, **options))


def test_auto_says_why_it_chose():
    wide = partial(cost_of, "mnist_cnn", image_size=(28, 28), channels=1)
    policy, reason = precision.choose("auto", wide)
    fast = precision.FAST_BFLOAT16_FLAGS & precision.cpu_flags()
    assert policy == ("mixed_bfloat16" if fast else "float32")
    assert "bfloat16" in reason or "BF16" in reason


@pytest.mark.parametrize(
    ("name", "options", "policy"),
    [
        ("mlp", {"features": 4}, "float32"),
        ("lenet5", {"image_size": (32, 32), "channels": 1}, "float32"),
        ("mnist_cnn", {"image_size": (28, 28), "channels": 1}, "mixed_bfloat16"),
        ("mlp", {"features": 784, "units": [512, 512]}, "mixed_bfloat16"),
        ("resnet18", {"image_size": (32, 32)}, "mixed_bfloat16"),
        ("vgg11", {"image_size": (32, 32)}, "mixed_bfloat16"),
    ],
)
def test_a_cpu_computes_in_16_bits_where_the_network_gains_from_it(name, options, policy):
    chosen, reason = precision.for_cpu("avx512_bf16", cost_of(name, **options))
    assert chosen == policy
    assert ("bfloat16 pays from" in reason) == (policy == "float32")


@pytest.mark.parametrize("name", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_a_named_precision_is_taken_as_it_is_and_nothing_is_counted(name):
    def count() -> flops.Cost:
        raise LookupError("not to be asked")

    assert precision.choose(name, count) == (name, "set by the job")


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((9, 0), "mixed_bfloat16"), ((8, 0), "mixed_bfloat16"), ((7, 5), "mixed_float16")]
    + [((6, 1), "float32")],
)
def test_gpus_get_what_their_tensor_cores_compute(capability, expected):
    assert precision.for_gpu(capability)[0] == expected


def test_the_policy_is_put_back_even_after_an_error():
    before = keras.config.dtype_policy()

    def fail() -> None:
        with precision.policy("mixed_bfloat16"):
            assert keras.config.dtype_policy().name == "mixed_bfloat16"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert keras.config.dtype_policy() == before
