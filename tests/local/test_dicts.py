"""Dicts: what they hold, and that they hold it."""

from __future__ import annotations

import signal
from pathlib import Path

import modal
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.local.store.database import Database
from modalkit.local.store.dicts import DictEntries
from modalkit.local.store.records import Records

WRITE = """
import modal
words = modal.Dict.from_name("words", create_if_missing=True)
words["one"] = 1
words.update({"two": 2, ("a", 3): [4, 5]})
"""
READ = """
import modal
words = modal.Dict.from_name("words")
print(sorted(map(str, words.items())), words.info().name)
"""
HELD = "[\"('one', 1)\", \"('two', 2)\", \"(('a', 3), [4, 5])\"] words"


@pytest.fixture
def words(client):
    with modal.Dict.ephemeral(client=client) as held:
        yield held


def test_everything_a_dict_can_do(words):
    """A dict holds, tells apart, counts, gives back and forgets."""
    words["one"] = 1
    words.update(two=2, three=3)
    assert words["one"] == 1
    assert words.get("nine", "none") == "none"
    assert "two" in words
    assert "nine" not in words
    assert words.len() == 3
    assert list(words.keys()) == ["one", "two", "three"]
    assert list(words.values()) == [1, 2, 3]
    assert list(words.items()) == [("one", 1), ("two", 2), ("three", 3)]
    assert words.pop("one") == 1
    assert words.pop("one", "gone") == "gone"
    del words["two"]
    with pytest.raises(KeyError):
        words["one"]
    words.clear()
    assert words.len() == 0


def test_put_says_whether_the_key_was_new(words):
    """`put` answers whether it made the key; with `skip_if_exists` it leaves one that is there."""
    assert words.put("key", 1) is True
    assert words.put("key", 2, skip_if_exists=True) is False
    assert words["key"] == 1
    assert words.put("other", 3, skip_if_exists=True) is True


def test_large_values_and_many_keys(words):
    """Values of several MiB and hundreds of keys come back whole, in order."""
    large = bytes(range(256)) * 16 * 1024
    words["large"] = large
    assert words["large"] == large
    words.update({number: number for number in range(450)})
    assert [key for key in words.keys() if key != "large"] == list(range(450))  # noqa: SIM118 - a modal.Dict


def test_a_dict_survives_its_plane(local):
    """A later command finds what an earlier one put."""
    assert local("python", "-c", WRITE).returncode == 0
    done = local("python", "-c", READ)
    assert HELD in done.stdout, done.stdout + done.stderr


def test_a_dict_survives_kill_9(planes, tmp_path: Path):
    """What was put before the plane was killed is there when the next one starts."""
    first = planes(tmp_path / "state")
    assert first.python(WRITE).returncode == 0
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    done = planes(tmp_path / "state").python(READ)
    assert HELD in done.stdout, done.stdout + done.stderr


def test_two_planes_share_a_dict_at_once(tmp_path: Path):
    """What one plane writes to the database, another reads at once: nothing is cached."""
    left, right = (Database(tmp_path / "records.db") for _ in range(2))
    Records(left).put("dict", "main", "d", "di-1", b"")
    here, there = DictEntries(left, "di-1"), DictEntries(right, "di-1")
    here.put([(b"key", b"value")])
    assert there.get(b"key") == b"value"
    there.clear()
    assert here.length() == 0
    for database in (left, right):
        database.close()


def test_the_dict_commands(local):
    """`modal dict` creates, lists, shows, clears and deletes."""
    assert local("modal", "dict", "create", "shelf").returncode == 0
    again = local("modal", "dict", "create", "shelf", "--help")
    assert again.returncode == 0
    code = "import modal; modal.Dict.from_name('shelf').update(a=1, b=2)"
    assert local("python", "-c", code).returncode == 0
    assert "shelf" in local("modal", "dict", "list").stdout
    assert local("modal", "dict", "get", "shelf", "a").stdout.strip() == "1"
    assert "'b'" in local("modal", "dict", "items", "shelf", "--repr").stdout
    assert local("modal", "dict", "clear", "shelf", "--yes").returncode == 0
    assert local("modal", "dict", "delete", "shelf", "--yes").returncode == 0
    done = local("modal", "dict", "get", "shelf", "a")
    assert done.returncode != 0
    assert "There is no Dict 'shelf'" in done.stdout + done.stderr


keys = st.binary(max_size=3)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.dictionaries(keys, keys, max_size=3), st.booleans()),
        st.tuples(st.just("pop"), keys, st.none()),
        st.tuples(st.just("clear"), st.none(), st.none()),
    ),
    max_size=20,
)


@given(operations)
def test_a_dict_behaves_like_pythons(tmp_path_factory, steps):
    """After any operations a Dict holds what a Python dict would, in the same order."""
    database = Database(tmp_path_factory.mktemp("dict") / "records.db")
    Records(database).put("dict", "main", "d", "di-1", b"")
    real, model = DictEntries(database, "di-1"), {}
    for operation, value, only_new in steps:
        if operation == "put":
            assert real.put(value.items(), only_new=only_new) == bool(value.keys() - model.keys())
            model = {**model, **{k: v for k, v in value.items() if not (only_new and k in model)}}
        elif operation == "pop":
            assert real.pop(value) == model.pop(value, None)
        else:
            real.clear()
            model.clear()
        assert list(real.items()) == list(model.items())
        assert real.length() == len(model)
    database.close()
