"""The lock as a value and as a file; `tests/locking` holds how it is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.errors import LockError
from modalkit.lock import (
    Lock,
    LockedFile,
    LockedImage,
    LockedModel,
    LockedService,
    lock_text,
    read_lock,
    write_lock,
)
from modalkit.lock.text import sealed
from modalkit.sizing.model import model_facts

CONFIGS = {
    row["id"]: row
    for row in json.loads((Path(__file__).parent / "sizing" / "models.json").read_text("utf-8"))
}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
}


def lock_of(files: int = 3) -> Lock:
    """A lock with one service and some weight files."""
    model = LockedModel(
        id="org/model",
        commit="c" * 40,
        files=tuple(
            LockedFile(name=f"model-{number:05}.safetensors", size=number, sha256="a" * 64)
            for number in range(files)
        ),
        facts=model_facts(LLAMA, name="org/model"),
    )
    service = LockedService(
        declared={"model": "org/model", "engine": "vLLM 0.33.0"},
        model=model,
        gpu=("L4", "A10"),
        usd_per_hour={"L4": 0.8, "A10": 1.1},
        image=LockedImage(
            base="a/b:1", digest="sha256:" + "d" * 64, packages=("x==1 --hash=sha256:1", "y==2")
        ),
    )
    return Lock(modalkit="0.1.0", prices_read_on="2026-11-20", services={"chat.py:Chat": service})


def test_what_is_written_is_read(tmp_path):
    """A lock read back equals the lock written, facts and cache layers included."""
    write_lock(lock_of(), tmp_path / "modalkit.lock")
    assert read_lock(tmp_path / "modalkit.lock") == lock_of()


@given(st.integers(0, 60), st.text(max_size=20))
def test_text_and_lock_are_one(tmp_path_factory, files, engine):
    """Any lock survives its text, whatever the strings in it."""
    lock = lock_of(files)
    (service,) = lock.services.values()
    changed = service.model_copy(update={"declared": {"engine": engine}})
    lock = lock.model_copy(update={"services": {"chat.py:Chat": changed}})
    path = tmp_path_factory.mktemp("lock") / "modalkit.lock"
    write_lock(lock, path)
    assert read_lock(path) == lock


def test_the_text_is_stable_and_one_line_a_file():
    """The same lock gives the same text, keys sorted, each weight file on a line of its own."""
    text = lock_text(lock_of())
    assert text == lock_text(lock_of())
    assert sum("safetensors" in line for line in text.splitlines()) == 3
    keys = list(json.loads(text))
    assert keys == [*sorted(keys[:-1]), "seal"]


def test_a_service_is_found_by_file_and_class():
    """The file's folder does not count: in a container it has moved."""
    lock = lock_of()
    assert lock.service("/root/chat.py", "Chat") is lock.services["chat.py:Chat"]
    assert lock.service("other.py", "Chat") is None


@pytest.mark.parametrize("cut", [1, 40, 400, -3])
def test_a_truncated_lock_is_refused_with_its_line(tmp_path, cut):
    """A lock that was cut off anywhere is refused, and the message says at which line."""
    path = tmp_path / "modalkit.lock"
    text = lock_text(lock_of())[:cut]
    path.write_text(text)
    with pytest.raises(LockError, match=rf"line {len(text.splitlines())} .*modalkit lock"):
        read_lock(path)


def test_a_lock_is_refused_wherever_it_was_cut_off(tmp_path):
    """Not one byte may be missing at the end, be it half a letter, and the last line there is named."""
    (key, service), path = *lock_of(1).services.items(), tmp_path / "modalkit.lock"
    named = service.model_copy(update={"declared": {"model": "./modèle"}})
    whole = lock_text(lock_of(1).model_copy(update={"services": {key: named}})).encode()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        line = max(1, len(whole[:cut].splitlines()))
        with pytest.raises(LockError, match=rf"line ({line}|{line + 1}) .*Run: modalkit lock"):
            read_lock(path)
    path.write_bytes(whole)
    assert read_lock(path).services[key] == named


@pytest.mark.parametrize("change", ["gone", "twice", "longer"])
def test_no_line_can_be_changed(tmp_path, change):
    """A line taken out, doubled or made longer is noticed wherever it stands, the seal's own included."""
    path, lines = tmp_path / "modalkit.lock", lock_text(lock_of()).splitlines()
    for number, line in enumerate(lines):
        instead = {"gone": [], "twice": [line, line], "longer": [f"{line} "]}[change]
        path.write_text("\n".join([*lines[:number], *instead, *lines[number + 1 :], ""]))
        with pytest.raises(LockError, match=r"line \d+ .*Run: modalkit lock"):
            read_lock(path)


def test_nothing_is_added_behind_the_seal(tmp_path):
    """JSON takes the last of a key written twice: one behind the seal is refused with its line."""
    path, lines = tmp_path / "modalkit.lock", lock_text(lock_of()).splitlines()
    path.write_text("\n".join([*lines[:-1], '  , "services": {}', "}", ""]))
    with pytest.raises(LockError, match=rf"line {len(lines)} is not .* holds ', \"services\": "):
        read_lock(path)


def test_a_lock_may_have_the_line_ends_of_windows(tmp_path):
    """Git may write a text file's lines its own way; that is no edit."""
    path = tmp_path / "modalkit.lock"
    path.write_bytes(lock_text(lock_of()).replace("\n", "\r\n").encode())
    assert read_lock(path) == lock_of()


@given(st.data())
def test_an_edited_line_is_named(tmp_path_factory, data):
    """Any line whose value was edited, so that it still reads as JSON, is the one named."""
    lines = lock_text(lock_of()).splitlines()
    editable = [number for number, line in enumerate(lines) if "aaaa" in line or "L4" in line]
    number = data.draw(st.sampled_from(editable))
    lines[number] = lines[number].replace("aaaa", "bbbb").replace("L4", "T4")
    path = tmp_path_factory.mktemp("lock") / "modalkit.lock"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(LockError, match=rf"line {number + 1} is not what modalkit lock wrote"):
        read_lock(path)


def test_a_removed_line_is_noticed(tmp_path):
    """A weight file taken out of the lock is noticed where it was."""
    lines = lock_text(lock_of()).splitlines()
    number = next(index for index, line in enumerate(lines) if "00001" in line)
    path = tmp_path / "modalkit.lock"
    path.write_text("\n".join(lines[:number] + lines[number + 1 :]))
    with pytest.raises(LockError, match=f"line {number + 1} "):
        read_lock(path)


def test_a_missing_or_newer_lock_says_what_to_run(tmp_path):
    """No lock, a file of another kind and a newer schema each say which command to run."""
    path = tmp_path / "modalkit.lock"
    with pytest.raises(LockError, match=r"There is no lock .*modalkit lock"):
        read_lock(path)
    path.write_text("[]")
    with pytest.raises(LockError, match="no seal in it"):
        read_lock(path)
    path.write_text(sealed({"schema": 2}))
    with pytest.raises(LockError, match="has schema 2; this modalkit reads 1"):
        read_lock(path)
    path.write_text(sealed({"schema": 1, "servces": {}}))
    with pytest.raises(LockError, match="does not hold what a lock"):
        read_lock(path)


def test_a_failed_write_leaves_the_old_lock(tmp_path):
    """What interrupts the writing leaves the old lock whole and no half-made file beside it."""
    path = tmp_path / "modalkit.lock"
    write_lock(lock_of(1), path)

    class Interrupting(Lock):
        def model_dump(self, **_options: object) -> dict[str, object]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lock(Interrupting(modalkit="1", prices_read_on="today"), path)
    assert read_lock(path) == lock_of(1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["modalkit.lock"]
