"""Class names in one form, and the file that keeps them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import labels
from pipeline.config import DataConfig

ODD = "a 고é\ufeff\u2028\x85\x1c\x0b\0,\t"  # some are blanks or line breaks to some rule
NAME = st.text(st.sampled_from(ODD), min_size=1, max_size=8)


@pytest.mark.parametrize(
    "spelling", ["고양이", unicodedata.normalize("NFD", "고양이"), " 고양이\t", "\ufeff고양이\r\n"]
)
def test_one_name_has_one_form(spelling):
    assert labels.normal(spelling, "here") == "고양이"


@pytest.mark.parametrize(
    ("name", "problem"),
    [("", "without a name"), ("a\nb", "line break"), ("a\rb", "line break"), ("a\udc80", "UTF-8")],
)
def test_what_is_no_name_is_refused_and_placed(name, problem):
    with pytest.raises(ValueError, match=f"^here.*{problem}"):
        labels.normal(name, "here")


@given(st.lists(NAME, max_size=5).map(lambda names: [n for n in names if n.strip(" \ufeff")]))
def test_names_survive_their_file(names):
    """Names may hold what str.splitlines splits at."""
    written = tuple(names)
    assert labels.of_text(labels.to_text(written)) == written
    assert labels.of_text("a\u2028b\nc\x85d\n") == ("a\u2028b", "c\x85d")


@pytest.mark.parametrize(
    "content",
    ["\ufeffcat\r\ndog\r\n", "cat\ndog", "cat \n dog\n\n", "cat\rdog\r"],
)
def test_a_file_of_names_is_read_whatever_wrote_it(tmp_path, content):
    path = tmp_path / "names.txt"
    path.write_bytes(content.encode())
    assert labels.read(path) == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"cat\n\ndog\n", "without a name"),
        (b"cat\ndog\ncat \n", "names cat twice"),
        ("고양이".encode("cp949"), "no text in UTF-8"),
        (b"", "without a name"),
    ],
)
def test_a_file_that_names_no_classes_is_refused(tmp_path, content, problem):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"names\.txt.*{problem}"):
        labels.read(path)


def test_names_select_and_order():
    there = ("ant", "bee", "cat")
    assert labels.chosen(("cat", "ant"), there, True, "folder:d") == [2, 0]


def test_names_of_a_source_with_names_are_never_replaced():
    with pytest.raises(ValueError, match="folder:d has no class normal; it selects and orders"):
        labels.chosen(("normal", "glaucoma"), ("glaucoma", "healthy"), True, "folder:d")


def test_numbers_take_names_in_their_order():
    assert labels.chosen(("zero", "one"), ("0", "1"), False, "idx:d") == [0, 1]
    assert labels.chosen(("1", "0"), ("0", "1"), False, "idx:d") == [1, 0]  # their own: an order
    with pytest.raises(ValueError, match="3 names; idx:d numbers 2 classes"):
        labels.chosen(("a", "b", "c"), ("0", "1"), False, "idx:d")
    with pytest.raises(ValueError, match="has no class zero"):  # number 0 is not class 1
        labels.chosen(("1", "zero"), ("0", "1"), False, "idx:d")


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("a", "a", "b"), "names a twice"),
        (("e\u0301", "\u00e9"), "twice"),
        (("only",), "at least 2"),
        (("a", " "), "without a name"),
    ],
)
def test_a_job_names_each_class_once(names, problem):
    with pytest.raises(ValueError, match=problem):
        DataConfig(source="digits", class_names=names)
