from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.declare.image import ImageSpec
from modalkit.declare.image.installs import PipInstall, RequirementsFile, UvLock
from modalkit.declare.image.layers import Apt, Env, LocalDir, LocalFile, LocalPython, Run, Workdir
from modalkit.declare.image.order import in_build_order, may_move_after

TARGETS = ["/app", "/root/x", "/data", "/etc/apt", "/usr/local", "/"]
built_in = st.booleans()
layers = st.one_of(
    st.builds(lambda n: PipInstall(requirements=(f"p{n}==1",)), st.integers(0, 3)),
    st.builds(lambda n: Apt(packages=(f"a{n}",)), st.integers(0, 3)),
    st.builds(lambda n: Env(variables=((f"V{n}", "1"),)), st.integers(0, 3)),
    st.builds(lambda n: Run(commands=(f"run {n}",)), st.integers(0, 3)),
    st.builds(lambda t: Workdir(path=t), st.sampled_from(TARGETS)),
    st.just(RequirementsFile(path="requirements.txt")),
    st.just(UvLock(project_dir=".")),
    st.builds(
        lambda t, b: LocalDir(source="s", target=t, built_in=b), st.sampled_from(TARGETS), built_in
    ),
    st.builds(
        lambda t, b: LocalFile(source="f", target=t, built_in=b), st.sampled_from(TARGETS), built_in
    ),
    st.builds(lambda b: LocalPython(modules=("m",), built_in=b), built_in),
)
builds = st.lists(layers, max_size=9)


def kinds(spec: ImageSpec) -> list[str]:
    return [layer.kind for layer in spec.ordered]


@given(builds)
def test_nothing_is_lost_or_added(steps):
    """The build has just the steps that were written."""
    assert Counter(in_build_order(steps)) == Counter(steps)


@given(builds)
def test_ordering_twice_changes_nothing(steps):
    """The build order of a build order is itself."""
    once = in_build_order(steps)
    assert in_build_order(once) == once


@given(builds)
def test_only_pairs_that_may_swap_swap(steps):
    """Of any two steps, the later written is built first only where that is provably the same."""
    # Number the steps, so that equal ones can be told apart by their place.
    numbered = list(enumerate(steps))
    position = {}
    left = list(in_build_order(steps))
    taken: Counter = Counter()
    for place, step in enumerate(left):
        same = [number for number, other in numbered if other == step]
        position[same[taken[step]]] = place
        taken[step] += 1
    for (one, first), (other, second) in combinations(numbered, 2):
        if position[one] > position[other]:
            assert may_move_after(first, second)


@given(builds)
def test_mounts_are_last(steps):
    """After the first mounted file no build step follows, as Modal demands."""
    mounted = [getattr(step, "built_in", True) is False for step in in_build_order(steps)]
    assert mounted == sorted(mounted)


@given(layers, layers)
def test_no_two_steps_may_each_move_after_the_other(one, other):
    """The law cannot send two steps around in a circle."""
    assert not (may_move_after(one, other) and may_move_after(other, one))


def test_mounts_move_past_everything():
    """A mounted folder written first is added last; it is not there while the image is built."""
    spec = ImageSpec().local_dir("assets", "/assets").run("make").pip("x==1")
    assert kinds(spec) == ["run", "pip", "local_dir"]
    assert [layer.kind for layer in spec.layers] == ["local_dir", "run", "pip"]


def test_built_in_files_move_past_what_cannot_read_them():
    """A built-in file goes after Debian packages and variables, so that it rebuilds less."""
    spec = ImageSpec().local_file("a.json", "/app/a.json", copy=True).apt("git").env(A="1")
    assert kinds(spec) == ["apt", "env", "local_file"]


@pytest.mark.parametrize("target", ["/etc/apt/sources.list.d", "/usr/share/x", "/opt/x", "/"])
def test_files_where_packages_live_stay_before_apt(target):
    """Debian packages may read or write there, so the order written matters."""
    spec = ImageSpec().local_dir("x", target, copy=True).apt("git")
    assert kinds(spec) == ["local_dir", "apt"]


@pytest.mark.parametrize(
    "later",
    [
        Run(commands=("make",)),
        PipInstall(requirements=("x==1",)),
        RequirementsFile(path="requirements.txt"),
        UvLock(project_dir="."),
    ],
    ids=lambda layer: layer.kind,
)
def test_built_in_files_stay_before_what_may_read_them(later):
    """A command or a Python build may read the files of the image."""
    spec = ImageSpec(layers=[LocalFile(source="a", target="/a", built_in=True), later])
    assert kinds(spec) == ["local_file", later.kind]


def test_variables_stay_before_what_may_read_them():
    """A variable is never moved: an install may read it."""
    spec = ImageSpec().env(CC="clang").apt("git").pip("x==1").workdir("/app").run("make")
    assert spec.ordered == spec.layers


def test_local_files_keep_their_order():
    """Of two files at one place the later wins, so they are never swapped."""
    spec = ImageSpec().local_dir("a", "/x").local_dir("b", "/x").apt("git")
    assert [getattr(layer, "source", "") for layer in spec.ordered] == ["", "a", "b"]
