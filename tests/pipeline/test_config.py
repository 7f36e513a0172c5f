import pytest
from pydantic import ValidationError

from pipeline import DataConfig


@pytest.mark.parametrize(
    "source", ["digits", "iris", "idx:/somewhere", "folder:a/b", "tfds:mnist", "tfds:a/b:1.0.0"]
)
def test_known_forms_are_taken(source):
    assert DataConfig(source=source).source == source


@pytest.mark.parametrize("source", ["digit", "idx", "idx:", "digits:x", "", "s3://bucket"])
def test_other_forms_are_refused_with_the_list_of_known_ones(source):
    with pytest.raises(ValidationError, match="no such source. Allowed: digits, iris, idx:DIR"):
        DataConfig(source=source)


def test_settings_are_frozen():
    config = DataConfig(source="digits")
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3  # type: ignore[misc]
