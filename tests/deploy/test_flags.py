"""Every command line that is written for a model server has flags that TensorFlow Serving has."""

import pytest

from serving import flags
from tests.support.model_server_flags import FLAGS, OURS, command_lines, names

LINES = list(command_lines())
LENIENT = "--allow_version_labels_for_unavailable_models=true"


def test_the_command_lines_are_found():
    places = {place for place, _ in LINES}
    assert {
        "docker-compose.yml", "deploy/Dockerfile", "deploy/k8s/base/serving.yaml",
        "deploy/k8s/serving-tls/tls.yaml", "docs/operate.md",
    } <= places  # fmt: skip


@pytest.mark.parametrize(("place", "line"), LINES)
def test_both_servers_take_the_flags(place: str, line: list[str]):
    assert names(line) <= FLAGS
    flags.parser().parse_args(line)  # ends the process at a flag that our server lacks


@pytest.mark.parametrize(("place", "line"), LINES)
def test_a_store_is_served_with_labels_whose_versions_are_still_to_load(
    place: str, line: list[str]
):
    assert ("model_config_file" in names(line)) == (LENIENT in line)


def test_our_server_knows_production_s_flags_and_few_others():
    """ALTS credentials, which ours has not, must not be taken for TLS that is there."""
    known = {action.dest for action in flags.parser()._actions} - {"help"}
    assert known == (FLAGS - {"use_alts_credentials"}) | OURS
