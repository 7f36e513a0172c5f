import pytest

from jobs.exits import ConfigError
from jobs.oracle import Post, read_post

CHIEF = {"KERASTUNER_ORACLE_IP": "10.0.0.7", "KERASTUNER_ORACLE_PORT": "8000"}
WORKER = {**CHIEF, "KERASTUNER_TUNER_ID": "worker0"}


def test_kerastuners_variables_name_the_chief_and_the_worker():
    assert read_post(CHIEF, chief=True) == Post("10.0.0.7:8000", None)
    assert read_post(WORKER, chief=False) == Post("10.0.0.7:8000", "worker0")
    six = {**WORKER, "KERASTUNER_ORACLE_IP": "fd00::7"}
    assert read_post(six, chief=False).address == "[fd00::7]:8000"
    assert read_post(six, chief=False).host == "[fd00::7]"


def test_a_chief_may_take_a_free_port_and_a_worker_must_know_it():
    free = {**WORKER, "KERASTUNER_ORACLE_PORT": "0"}
    assert read_post(free, chief=True).address == "10.0.0.7:0"
    with pytest.raises(ConfigError, match="must be a port from 1 to 65535, got '0'"):
        read_post(free, chief=False)


@pytest.mark.parametrize("name", ["", "chief", "my-chief-2", "a~b"])
def test_a_worker_needs_a_name_that_is_no_chiefs(name):
    with pytest.raises(ConfigError, match=f"KERASTUNER_TUNER_ID must name .* got {name!r}"):
        read_post({**WORKER, "KERASTUNER_TUNER_ID": name}, chief=False)


@pytest.mark.parametrize("port", ["http", "70000", "-1"])
def test_a_port_is_a_number(port):
    with pytest.raises(ConfigError, match="KERASTUNER_ORACLE_PORT must be a port"):
        read_post({**CHIEF, "KERASTUNER_ORACLE_PORT": port}, chief=True)


@pytest.mark.parametrize("missing", sorted(CHIEF))
def test_both_halves_of_the_address_are_needed(missing):
    rest = {name: value for name, value in CHIEF.items() if name != missing}
    with pytest.raises(ConfigError, match="must name the chief's address"):
        read_post(rest, chief=True)
