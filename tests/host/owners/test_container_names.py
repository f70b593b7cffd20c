"""Names of pods and containers, by folders and files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from faketree import Tree
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.host.owners import containers
from gpu_sentinel.host.owners.containers import AT_ONCE, BURST, MOST, PERIOD, Containers, parse_link
from gpu_sentinel.host.owners.containers import parse_pod as parse_folder
from gpu_sentinel.host.owners.engines import Engines

ID, OTHER, THIRD = "a" * 64, "b" * 64, "c" * 64
UID = "72f7f152-440c-66ac-9084-e0fc1d8a910c"


class World:
    """Logs in files, and how often they were listed."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tree = Tree(root)
        self.now = 1000.0
        self.listed = 0
        real = os.scandir

        def scandir(path: str):
            self.listed += 1
            return real(path)

        monkeypatch.setattr(containers.os, "scandir", scandir)
        self.containers = Containers(self.tree.logs, lambda: self.now)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_link_tells_pod_namespace_and_container(world: World):
    world.tree.link("train-0", "research", "main", ID)
    world.tree.pod("research", "train-0", UID)
    assert world.containers.up is None
    assert world.containers.container(ID) == ("research", "train-0", "main")
    assert world.containers.pod(UID) == ("research", "train-0")
    assert world.containers.up is True


def test_thousands_of_new_containers_do_not_list_the_folder_each(world: World):
    for number in range(100):
        assert world.containers.container(f"{number:064x}") is None
    assert world.listed == BURST
    world.now += AT_ONCE
    assert world.containers.container("f" * 64) is None
    assert world.listed == BURST + 1


def test_the_folder_is_listed_for_what_is_new_and_else_rarely(world: World):
    world.tree.link("train-0", "research", "main", ID)
    assert world.containers.container(ID)
    for _ in range(5):
        assert world.containers.container(ID)
    assert world.listed == 1
    assert world.containers.container(OTHER) is None
    assert world.listed == 2
    world.tree.link("train-1", "research", "main", OTHER)
    for _ in range(5):
        assert world.containers.container(OTHER) is None
    assert world.listed == 2
    world.now += PERIOD
    assert world.containers.container(OTHER) == ("research", "train-1", "main")
    assert world.listed == 3
    # What was found once stays: a number is never another container's.
    (world.tree.logs / "containers" / f"train-1_research_main-{OTHER}.log").unlink()
    world.now += PERIOD
    assert world.containers.container(THIRD) is None
    assert world.containers.container(OTHER) == ("research", "train-1", "main")


def test_without_the_folder_nothing_is_known_until_it_is_there(world: World):
    assert world.containers.container(ID) is None
    assert world.containers.pod(UID) is None
    assert world.containers.up is False
    world.tree.link("train-0", "research", "main", ID)
    world.now += PERIOD
    assert world.containers.container(ID)
    assert world.containers.up is True


def test_thousands_of_links_are_looked_through_once_and_not_kept(world: World):
    folder = world.tree.logs / "containers"
    folder.mkdir(parents=True)
    for number in range(3000):
        (folder / f"p{number}_ns_c-{number:064x}.log").touch()
    assert world.containers.container(f"{2999:064x}") == ("ns", "p2999", "c")
    assert len(world.containers._links._found) == 1
    assert world.listed == 1


def test_unknown_ids_are_remembered_with_a_bound(world: World):
    for number in range(MOST + 100):
        world.containers.container(f"{number:064x}")
    assert len(world.containers._links._unknown) == MOST


def test_a_name_that_the_kubelet_has_cut_is_found_by_the_beginning_of_the_id(world: World):
    pod, namespace = "p" * 120, "n" * 63
    cut = f"{pod}_{namespace}_main-{ID}"[:251]
    assert len(cut) == 251
    (folder := world.tree.logs / "containers").mkdir(parents=True)
    (folder / f"{cut}.log").touch()
    assert world.containers.container(ID) == (namespace, pod, "main")
    # Two that begin so: in doubt neither.
    (folder / f"{cut}.log").unlink()
    like = ID[:-1] + "0"
    assert world.containers.container(OTHER) is None
    assert world.containers.container(like) is None
    assert world.containers.container(ID[:-1] + "1") is None
    (folder / f"{cut}.log").touch()
    world.now += PERIOD
    assert world.containers.container(like) is None


NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)
HEX = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64)


def test_a_pod_whose_names_end_like_the_id_of_another_does_not_take_it(world: World):
    """The name of its link is cut just where its container's name begins like another's id."""
    container = "x-" + OTHER[:61]
    pod = "p" * (containers._LONGEST - len(f"_mine_{container}.log"))
    assert parse_link(f"{pod}_mine_{container}.log") is not None
    folder = world.tree.logs / "containers"
    world.tree.link("train-0", "research", "main", OTHER)
    (folder / f"{pod}_mine_{container}.log").symlink_to("/")
    assert world.containers.container(OTHER) == ("research", "train-0", "main")
    # Of two that are cut nobody knows which it is.
    (folder / f"{pod}_hers_{container}.log").symlink_to("/")
    (folder / f"train-0_research_main-{OTHER}.log").unlink()
    other = Containers(world.tree.logs, lambda: world.now)
    assert other.container(OTHER) is None


@given(NAME, NAME, NAME, HEX)
def test_every_link_is_read(pod: str, namespace: str, container: str, number: str):
    link = f"{pod}_{namespace}_{container}-{number}.log"
    assert parse_link(link) == (number, namespace, pod, container)


@given(NAME, NAME, st.uuids().map(str))
def test_every_folder_is_read(namespace: str, pod: str, uid: str):
    assert parse_folder(f"{namespace}_{pod}_{uid}") == (uid, namespace, pod)


@given(st.text(max_size=100))
def test_any_name_is_a_link_or_none(name: str):
    parse_link(name)
    parse_folder(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ".log", f"a_b_c-{ID}", f"a_b-{ID}.log", f"a_b_-{ID}.log", f"a_b_c-{ID[1:]}.log",
        f"a_b_c-{ID.upper()}.log", f"a_b\n_c-{ID}.log", f"a_b_c-{ID}.log\n", f"../x_b_c-{ID}.log",
    ],
)  # fmt: skip
def test_what_is_no_link(name: str):
    assert parse_link(name) is None


# --- Docker and Podman --------------------------------------------------------------------------


def docker(root: Path, number: str, content: str | bytes) -> None:
    folder = root / "docker" / "containers" / number
    folder.mkdir(parents=True)
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "config.v2.json").write_bytes(data)


def test_docker_tells_a_name(tmp_path: Path):
    docker(tmp_path, ID, json.dumps({"ID": ID, "Name": "/brave_hopper", "Config": {"Env": []}}))
    engines = Engines(tmp_path / "docker", tmp_path / "podman")
    assert engines.name(ID, "docker") == "brave_hopper"
    assert engines.name(ID, "") == "brave_hopper"
    assert engines.name(ID, "podman") == ""
    assert engines.name(OTHER, "docker") == ""


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", '{"Name": 7}', '{"Name": ""}', '{"Name": "/a b"}', "[" * 100_000,
        '{"Name": "/\\u001b"}', b"\xff\xfe", '{"Name": "' + "x" * 200 + '"}',
        '{"Name": "/x"}' + " " * (1 << 20),
    ],
)  # fmt: skip
def test_a_file_that_is_none_of_dockers_gives_no_name(tmp_path: Path, content: str | bytes):
    docker(tmp_path, ID, content)
    assert Engines(tmp_path / "docker", tmp_path / "podman").name(ID, "docker") == ""


@pytest.mark.parametrize("number", ["", "../" * 30, "x" * 64, ID + "0"])
def test_what_is_no_id_is_no_path(tmp_path: Path, number: str):
    assert Engines(tmp_path, tmp_path).name(number, "docker") == ""


def test_a_fifo_holds_nobody_up(tmp_path: Path):
    folder = tmp_path / "docker" / "containers" / ID
    folder.mkdir(parents=True)
    os.mkfifo(folder / "config.v2.json")
    assert Engines(tmp_path / "docker", tmp_path).name(ID, "docker") == ""


def test_podman_tells_names_and_is_read_rarely(tmp_path: Path):
    now = [0.0]
    file = tmp_path / "overlay-containers" / "containers.json"
    file.parent.mkdir()
    bad = [7, {"id": 3, "names": []}, {"id": OTHER}, {"id": OTHER, "names": [None]}]
    file.write_text(json.dumps([*bad, {"id": ID, "names": ["train"]}]))
    engines = Engines(tmp_path / "docker", tmp_path, lambda: now[0])
    assert engines.name(ID, "podman") == "train"
    assert engines.name(OTHER, "podman") == ""
    file.write_text(json.dumps([{"id": OTHER, "names": ["other"]}]))
    assert engines.name(OTHER, "podman") == ""
    now[0] = 10.0
    assert engines.name(OTHER, "podman") == "other"
