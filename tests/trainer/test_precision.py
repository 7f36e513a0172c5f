import keras
import pytest

from trainer import precision


def test_auto_finds_native_bfloat16_in_the_flags_of_the_cpu(tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16\n\nprocessor\t: 1\n"
    )
    assert precision.cpu_flags(cpuinfo) == {"fpu", "avx2", "avx512_bf16", "amx_bf16"}
    assert precision.cpu_flags(tmp_path / "none") == set()


def test_auto_says_why_it_chose():
    policy, reason = precision.choose("auto")
    fast = precision.FAST_BFLOAT16_FLAGS & precision.cpu_flags()
    assert policy == ("mixed_bfloat16" if fast else "float32")
    assert "bfloat16" in reason or "BF16" in reason


@pytest.mark.parametrize("name", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_a_named_precision_is_taken_as_it_is(name):
    assert precision.choose(name) == (name, "set by the job")


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
