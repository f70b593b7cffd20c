"""Names of users, kept for a while."""

from __future__ import annotations

import os
import pwd

from gpu_sentinel.host.owners.users import LIFETIME, MOST, RETRY, Users, no_name


class Directory:
    """A directory service."""

    def __init__(self, **names: str) -> None:
        self.names = {int(uid[1:]): name for uid, name in names.items()}
        self.asked: list[int] = []
        self.now = 0.0
        self.down = False
        self.users = Users(self.lookup, lambda: self.now)

    def lookup(self, uid: int) -> str:
        self.asked.append(uid)
        if self.down:
            raise OSError("does not answer")
        return self.names[uid]


def test_a_name_is_asked_for_once_in_its_lifetime():
    directory = Directory(_1000="alice")
    assert [directory.users.name(1000) for _ in range(3)] == ["alice"] * 3
    directory.names[1000] = "alicia"
    directory.now = LIFETIME - 1
    assert directory.users.name(1000) == "alice"
    directory.now = LIFETIME
    assert directory.users.name(1000) == "alicia"
    assert directory.asked == [1000, 1000]


def test_who_has_no_name_has_a_number_and_is_asked_for_again_soon():
    directory = Directory()
    assert [directory.users.name(7) for _ in range(3)] == ["7"] * 3
    assert directory.asked == [7]
    directory.names[7] = "bob"
    directory.now = RETRY
    assert directory.users.name(7) == "bob"


def test_a_service_that_is_down_takes_nobodys_name_away():
    directory = Directory(_1000="alice")
    assert directory.users.name(1000) == "alice"
    directory.down, directory.now = True, LIFETIME
    assert directory.users.name(1000) == "alice"
    assert directory.users.name(1001) == "1001"


def test_names_are_made_safe_and_kept_with_a_bound():
    directory = Directory(_1="a\x1b[31m\n", _2="")
    assert directory.users.name(1) == r"a\x1b[31m\n"
    assert directory.users.name(2) == "2"
    for uid in range(10, MOST + 100):
        directory.users.name(uid)
    assert len(directory.users._known) == MOST
    assert directory.users.name(2**63) == str(2**63)


def test_the_system_knows_this_user():
    assert Users().name(os.getuid()) == pwd.getpwuid(os.getuid()).pw_name
    assert Users().name(2**64) == str(2**64)
    assert Users(no_name).name(0) == "0"
