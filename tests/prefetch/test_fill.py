"""Filling a cache from the hub: what is there afterwards, and what every kind of trouble leaves."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from modalkit.errors import HubError, WeightsError
from modalkit.lock import LockedFile
from modalkit.prefetch.fill import fill
from modalkit.prefetch.hub_source import HubSource
from modalkit.prefetch.wanted import Wanted

SHARD = "model-00001-of-00002.safetensors"
SMALL_SHARD = "model-00002-of-00002.safetensors"


def fetches(hub) -> list[str]:
    return [path for _, path, _ in hub.requests if path.startswith("/cdn/")]


def test_a_cache_holds_what_an_engine_reads(cache, model):
    """The map's shards, tokenizer and configuration arrive; the last thing told says so."""
    told = cache.fill()
    assert cache.contents() == model
    last = told[-1]
    assert (last.stage, last.done_files, last.total_files) == ("done", 5, 5)
    assert last.done_bytes == last.total_bytes == sum(map(len, model.values()))
    assert [event.stage for event in told][:2] == ["listing", "checking"]


def test_the_manifest_names_every_file(cache, model):
    """It holds the commit that the branch meant, and size and SHA-256 of each file."""
    cache.fill()
    manifest = cache.manifest()
    assert manifest.commit == "c" * 40
    assert manifest.checked_against == "hub"
    assert {file.name: file.size for file in manifest.files} == {
        name: len(content) for name, content in model.items()
    }


def test_the_hubs_own_client_finds_it_offline(cache, model):
    """What reads the hub's cache by the id needs no network, by branch and by commit."""
    cache.fill()
    code = "import huggingface_hub as h; print(h.snapshot_download('org/model', revision={!r}))"
    for revision in ("main", "c" * 40):
        done = subprocess.run(
            [sys.executable, "-c", code.format(revision)],
            env={"HF_HUB_CACHE": str(cache.root / "huggingface/hub"), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert Path(done.stdout.strip()) == cache.snapshot


def test_a_second_run_asks_nobody(cache, model, hub):
    """With a manifest nothing is asked and nothing is fetched, and it says so."""
    cache.fill()
    before = len(hub.requests)
    (only,) = cache.fill()
    assert only.stage == "done"
    assert "nothing was fetched" in only.note
    assert len(hub.requests) == before


def test_again_reads_everything(cache, model, hub):
    """Asked to distrust the cache, a run finds a byte that has changed and fetches that file anew."""
    cache.fill()
    blob = (cache.snapshot / SMALL_SHARD).resolve()
    blob.write_bytes(b"\0" + blob.read_bytes()[1:])
    hub.requests.clear()
    cache.fill(again=True)
    assert cache.contents() == model
    assert [path.rpartition("/")[2] for path in fetches(hub)] == [SMALL_SHARD]


def test_a_new_commit_fetches_what_is_new(cache, model, hub):
    """Commits share their contents: of another one only the file that differs is fetched."""
    cache.fill()
    repository = hub.repositories["org/model"]
    repository.commit = "d" * 40
    repository.files[SMALL_SHARD] = b"new"
    hub.requests.clear()
    cache.fill(Wanted(model="org/model", asked="d" * 40))
    assert [path.rpartition("/")[2] for path in fetches(hub)] == [SMALL_SHARD]
    assert cache.manifest(Wanted(model="org/model", asked="d" * 40)).commit == "d" * 40


def test_connections_that_are_cut(cache, large_model, hub):
    """Each cut goes on at the byte where it was, on another connection; no byte is sent twice."""
    hub.cut_after = [0, 1, 1_000_000, 2_500_000, 7]
    cache.fill()
    assert cache.contents() == large_model
    assert hub.sent == sum(len(large_model[name]) for name in (SHARD, SMALL_SHARD))


def test_the_hub_asks_to_come_back_later(cache, model, hub):
    """429 with Retry-After, and answers of a hub that restarts, are waited out."""
    hub.refuse_next = [(429, {"Retry-After": "0"}), (503, {}), (500, {})]
    cache.fill()
    assert cache.contents() == model


def test_addresses_that_run_out(cache, model, hub):
    """When a signed address has expired the hub is asked for another one, and the range goes on."""
    hub.rate, hub.cut_after = 3 << 20, [2 << 20, 2 << 20]
    events = fill(cache.root, Wanted(model="org/model"), lambda: HubSource("org/model", "main"))
    for event in events:
        if event.stage == "fetching":
            hub.ticket = 1
    assert cache.contents() == model
    assert {path.split("/")[2] for path in fetches(hub)} == {"0", "1"}


def test_the_token_goes_to_the_hub_alone(cache, model, hub, monkeypatch):
    """Every request to the hub has the token; the server that large files come from never sees it."""
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    hub.repositories["org/model"].token = "hf_of_the_test"
    cache.fill()
    assert set(hub.tokens) == {"Bearer hf_of_the_test"}
    assert set(hub.cdn_tokens) == {None}


@pytest.mark.parametrize(
    ("change", "asked", "told"),
    [
        ({"gated": True, "token": "hf_a"}, "main", "is gated. Accept its terms .* set HF_TOKEN"),
        ({"token": "hf_a"}, "main", "no public model 'org/model'.*set HF_TOKEN"),
        ({}, "v9", "has no revision 'v9'"),
    ],
)
def test_refusals_name_the_remedy(cache, hub, change, asked, told):
    """Gated, private, wrong revision: the message says what to do, and there is no manifest."""
    vars(hub.add("org/model", {"config.json": {}, "model.safetensors": b"x"})).update(change)
    with pytest.raises(HubError, match=told):
        cache.fill(Wanted(model="org/model", asked=asked))
    assert cache.manifest() is None


def test_a_hub_that_is_down(cache, monkeypatch):
    """A hub that does not answer is named, and so is what to check."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"127\.0\.0\.1:9 cannot be reached .*Check the network"):
        cache.fill()


def test_a_hub_that_keeps_refusing(cache, model, hub):
    """After several tries without a byte the status is told; the next run goes on from there."""
    hub.refuse_next = [(429, {"Retry-After": "600"})] * 50
    with pytest.raises(HubError, match=r"429, too many requests\. Run this again in 600 s"):
        cache.fill()
    hub.refuse_next.clear()
    cache.fill()
    assert cache.contents() == model


def test_wrong_bytes_are_thrown_away(cache, model, hub):
    """A file that arrives altered is named with both digests, is not kept, and can be fetched again."""
    hub.wrong.add(SMALL_SHARD)
    with pytest.raises(
        WeightsError, match=f"{SMALL_SHARD} from the hub arrived with SHA-256 .* in"
    ):
        cache.fill()
    assert cache.manifest() is None
    hub.wrong.clear()
    cache.fill()
    assert cache.contents() == model


def test_small_files_are_verified_too(cache, model, hub):
    """What the hub keeps in git is held to git's name for it."""
    hub.wrong.add("tokenizer.json")
    with pytest.raises(WeightsError, match=r"tokenizer\.json from the hub arrived as"):
        cache.fill()


def test_the_lock_is_held(cache, model, hub, locked):
    """Locked files pass; another file on the hub is refused before a byte of it is fetched."""
    cache.fill(locked(model))
    assert cache.manifest(locked(model)).checked_against == "lock"
    hub.repositories["org/model"].files[SMALL_SHARD] = b"not the locked one"
    other = Wanted(
        model="org/model",
        asked="c" * 40,
        locked=(LockedFile(name=SMALL_SHARD, size=len(model[SMALL_SHARD]), sha256="0" * 64),),
    )
    hub.requests.clear()
    with pytest.raises(WeightsError, match=r"locked .*modalkit lock FILE --upgrade"):
        cache.fill(other)
    assert not fetches(hub)


def test_what_was_fetched_before_by_others(cache, model, hub):
    """Contents that an engine left in the hub's cache are verified and used; wrong ones are replaced."""
    cache.fill()
    (manifest,) = (cache.root / "modalkit/manifests").iterdir()
    manifest.unlink()
    blob = (cache.snapshot / SMALL_SHARD).resolve()
    blob.write_bytes(bytes(len(model[SMALL_SHARD])))
    hub.requests.clear()
    cache.fill()
    assert cache.contents() == model
    assert [path.rpartition("/")[2] for path in fetches(hub)] == [SMALL_SHARD]


def test_a_damaged_manifest_is_none(cache, model):
    """A manifest that was cut off is not believed; what it spoke of is read and kept."""
    cache.fill()
    (manifest,) = (cache.root / "modalkit/manifests").iterdir()
    manifest.write_text(manifest.read_text()[:200])
    assert cache.manifest() is None
    assert cache.fill()[-1].fetched_bytes == 0
    assert cache.manifest() is not None


def test_a_blob_that_is_gone_is_fetched_again(cache, model):
    """A manifest whose contents miss does not count as complete."""
    cache.fill()
    (cache.snapshot / SMALL_SHARD).resolve().unlink()
    cache.fill()
    assert cache.contents() == model


def test_two_at_once(cache, model, hub):
    """The second waits for the first, then finds everything there: nothing is fetched twice."""
    hub.rate = 10 << 20
    told: list[list] = [[], []]

    def run(number: int) -> None:
        told[number] = cache.fill()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.contents() == model
    assert hub.sent == sum(len(model[name]) for name in (SHARD, SMALL_SHARD))
    assert sorted(events[-1].fetched_bytes > 0 for events in told) == [False, True]


def test_a_cache_that_cannot_be_written(cache, model, tmp_path):
    """A cache that is a file, or mounted read-only, is named."""
    (tmp_path / "cache").write_text("")
    with pytest.raises(WeightsError, match=r"cannot be written: .* not read-only"):
        cache.fill()


FULL = """
import subprocess, sys
from pathlib import Path
root = Path(sys.argv[1])
root.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + sys.argv[2], "none", str(root)], check=True)
from modalkit.errors import WeightsError
from modalkit.prefetch.fill import fill
from modalkit.prefetch.hub_source import HubSource
from modalkit.prefetch.wanted import Wanted
def events():
    return fill(root, Wanted(model="org/model"), lambda: HubSource("org/model", "main"))
try:
    for event in events():
        if event.stage == "fetching" and not (root / "other").exists():
            with (root / "other").open("wb") as other:
                try:
                    other.write(bytes(100 << 20))
                except OSError:
                    pass
except WeightsError as error:
    print(error)
(root / "other").unlink(missing_ok=True)
subprocess.run(["mount", "-o", "remount,size=100m", "none", str(root)], check=True)
for event in events():
    pass
print(event.stage, 0 < event.fetched_bytes < event.total_bytes)
"""


def in_a_small_disk(root: Path, size: str, program: str = FULL) -> list[str]:
    words = ["unshare", "-Urm", sys.executable, "-c", program, str(root), size]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"this machine gives no small disk: {done.stderr}")
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


def test_too_little_room_is_said_first(cache, model, hub):
    """Before a byte is fetched the room is looked at; both sizes are in the message."""
    told, ended = in_a_small_disk(cache.root, "20m")
    assert "bytes are needed at" in told
    assert "Make room" in told
    assert ended == "done False"  # nothing had been fetched


def test_a_disk_that_fills_up(cache, model, hub):
    """When the disk is full on the way, what has arrived is kept and the next run goes on."""
    hub.rate = 3 << 20
    told, ended = in_a_small_disk(cache.root, "40m")
    assert "The disk is full" in told
    assert "run the same command again" in told
    assert ended == "done True"


CROWDED = """
import subprocess, sys
from pathlib import Path
from modalkit.errors import WeightsError
from modalkit.prefetch.fill import fill
from modalkit.prefetch.hub_source import HubSource
from modalkit.prefetch.wanted import Wanted
for files in range(2, 60):
    root = Path(sys.argv[1]) / str(files)
    root.mkdir(parents=True)
    limits = f"size=100m,nr_inodes={files}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", limits, "none", str(root)], check=True)
    told = ""
    try:
        for event in fill(root, Wanted(model="org/model"), lambda: HubSource("org/model", "main")):
            pass
    except WeightsError as error:
        told = str(error)
    whole = any(root.glob("modalkit/manifests/*.json"))
    print("The disk is full" in told, whole)
    if whole:
        break
"""


def test_a_disk_that_is_full_at_any_file(cache, hub):
    """Whichever file finds no room, a link or the manifest too, it is said; only the last run has a manifest."""
    hub.add("org/model", {"config.json": {}, "model.safetensors": b"x" * 1000})
    told = in_a_small_disk(cache.root, "", CROWDED)
    assert len(told) > 5
    assert told[-1] == "False True"
    assert set(told[:-1]) == {"True False"}
