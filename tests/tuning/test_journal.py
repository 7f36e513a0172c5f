import json

import pytest

from tuning.journal import DamagedJournal, Journal


@pytest.fixture
def path(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for number in range(3):
        journal.append({"event": "create", "trial": str(number)})
    return journal.path


def trials(path):
    return [event["trial"] for event in Journal(path).events]


def test_events_outlast_the_process_and_carry_their_time(path):
    assert trials(path) == ["0", "1", "2"]
    assert all(event["at"] > 1.6e9 for event in Journal(path).events)


def test_a_journal_cut_at_any_byte_opens_and_goes_on(path):
    """A crash leaves a prefix of the file: every whole line counts, and nothing else."""
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        whole = content[:length].count(b"\n")
        cut = content[:length].rpartition(b"\n")[2]
        complete = whole + (cut.endswith(b"}") and _is_json(cut))
        journal = Journal(path)
        journal.append({"event": "create", "trial": "new"})
        assert trials(path) == [str(n) for n in range(complete)] + ["new"]


def _is_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("damage", [b"\x00\x00", b"[]", b'{"trial": "1"}', b"no json"])
def test_damage_before_the_last_line_is_refused_with_the_line(path, damage):
    lines = path.read_bytes().split(b"\n")
    lines[1] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(DamagedJournal, match="damaged in line 2 of 4.*Remove that line"):
        Journal(path)
