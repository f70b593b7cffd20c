"""The owners of a GPU sum to its energy; who gets what, in closed form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.model import NOBODY, Owner
from gpu_sentinel.sampling.owners.idle import KEPT_SECONDS, MOST_OF_LIMIT, IdleDraw
from gpu_sentinel.sampling.owners.ledger import (
    KEEP_SECONDS,
    LATE_SECONDS,
    OTHERS,
    Holder,
    Ledger,
    User,
)

ALICE, BOB, CAROL = (Owner("user", name, user=name) for name in ("alice", "bob", "carol"))
IDLE = 70.0


def run(  # noqa: PLR0917 - in the order of what happens
    ledger: Ledger, seconds: int, watts: float, users=(), holders=(), start: float = 0.0
):
    """Steps of a second; what `users` say of busy time is of each step."""
    for second in range(1, seconds + 1):
        ledger.step(start + second, 1.0, watts, IDLE, users=users, holders=holders)


def joules(ledger: Ledger, owner: Owner) -> tuple[float, float]:
    account = ledger.accounts[owner]
    return account.idle_joules, account.active_joules


def test_power_above_idle_goes_by_sm_time_and_idle_to_the_holder():
    ledger = Ledger()
    users = (User(ALICE, 40e9, busy=0.6), User(BOB, 10e9, busy=0.2))
    run(ledger, 100, 470.0, users, (Holder(CAROL),))
    assert joules(ledger, CAROL) == pytest.approx((7000.0, 0.0))
    assert joules(ledger, ALICE) == pytest.approx((0.0, 30_000.0))
    assert joules(ledger, BOB) == pytest.approx((0.0, 10_000.0))
    assert ledger.accounts[ALICE].busy == pytest.approx(60.0)


def test_without_holders_idle_goes_by_memory():
    ledger = Ledger()
    run(ledger, 100, 70.0, (User(ALICE, 30e9), User(BOB, 10e9)))
    assert joules(ledger, ALICE) == pytest.approx((5250.0, 0.0))
    assert joules(ledger, BOB) == pytest.approx((1750.0, 0.0))


def test_memory_that_nobody_knows_is_shared_evenly():
    ledger = Ledger()
    run(ledger, 100, 70.0, (User(ALICE), User(BOB)))
    assert joules(ledger, ALICE) == joules(ledger, BOB) == pytest.approx((3500.0, 0.0))


def test_without_anybody_it_is_nobodys():
    ledger = Ledger()
    run(ledger, 100, 100.0)
    assert joules(ledger, NOBODY) == pytest.approx((7000.0, 3000.0))


def test_parts_of_a_gpu():
    ledger = Ledger()
    run(ledger, 100, 70.0, holders=(Holder(ALICE, 4 / 7), Holder(BOB, 3 / 7)))
    assert joules(ledger, ALICE)[0] == pytest.approx(4000.0)
    assert joules(ledger, BOB)[0] == pytest.approx(3000.0)


def test_sm_time_that_is_told_late_gets_what_was_drawn_meanwhile():
    ledger = Ledger()
    run(ledger, 10, 70.0, (User(ALICE, 1e9, busy=0.5),))
    ledger.step(11.0, 1.0, 470.0, IDLE, users=(User(ALICE, 1e9), User(BOB, 1e9)), holders=())
    ledger.step(
        12.0, 1.0, 70.0, IDLE, users=(User(ALICE, 1e9), User(BOB, 1e9, busy=0.9)), holders=()
    )
    assert joules(ledger, BOB)[1] == pytest.approx(400.0)


def test_a_process_that_lives_under_a_second_gets_its_energy():
    ledger = Ledger()
    ledger.step(1.0, 1.0, 270.0, IDLE, users=(User(ALICE, None, busy=0.3),), holders=())
    run(ledger, 100, 70.0, start=1.0)
    assert joules(ledger, ALICE)[1] == pytest.approx(200.0)
    assert ledger.accounts[ALICE].processes == 0


def test_allocated_and_idle():
    ledger = Ledger()
    run(ledger, 100, 70.0, (User(ALICE, 1e9, busy=0.1),), (Holder(ALICE), Holder(BOB)))
    run(ledger, 100, 70.0, (User(ALICE, 1e9),), (Holder(ALICE), Holder(BOB)), start=100.0)
    alice, bob = ledger.accounts[ALICE], ledger.accounts[BOB]
    assert (alice.allocated, bob.allocated) == (200.0, 200.0)
    assert alice.idle_allocated == pytest.approx(98.0)
    assert bob.idle_allocated == 200.0
    assert bob.held
    assert bob.processes == 0


def test_pods_not_containers_have_accounts():
    ledger = Ledger()
    one, two = (Owner("pod", "a/p", "a", "p", name) for name in ("main", "sidecar"))
    run(ledger, 10, 70.0, (User(one, 1e9), User(two, 1e9)))
    assert [o.name for o in ledger.accounts] == ["a/p"]


def test_sources_know_one_owner_differently():
    ledger = Ledger()
    by_process = Owner("slurm_job", "7", slurm_job="7", user="alice")
    by_mapping = Owner("slurm_job", "7", slurm_job="7", slurm_account="physics")
    run(ledger, 10, 70.0, (User(by_process, 1e9, busy=0.5),))
    run(ledger, 10, 70.0, (User(by_process, 1e9, busy=0.5),), (Holder(by_mapping),), start=10.0)
    ((owner, account),) = ledger.accounts.items()
    assert (owner.user, owner.slurm_account) == ("alice", "physics")
    assert account.busy == 10.0
    assert account.allocated == 10.0


def test_owners_beyond_the_limit_share_an_account_until_there_is_room():
    ledger = Ledger(most_owners=2)
    run(ledger, 10, 70.0, (User(ALICE, 1e9), User(BOB, 1e9), User(CAROL, 1e9)))
    assert set(ledger.accounts) == {ALICE, BOB, OTHERS}
    run(ledger, 10, 70.0, (User(BOB, 1e9), User(CAROL, 1e9)), start=10.0)
    assert set(ledger.accounts) == {BOB, CAROL, OTHERS}, "who has gone makes room"


def test_owners_outlive_their_processes_by_an_hour():
    ledger = Ledger()
    ledger.step(1.0, 1.0, 70.0, IDLE, users=(User(ALICE, 1e9),), holders=())
    ledger.step(KEEP_SECONDS, 1.0, 70.0, IDLE, users=(), holders=())
    assert ALICE in ledger.accounts
    ledger.step(KEEP_SECONDS + 2.0, 1.0, 70.0, IDLE, users=(), holders=())
    assert ALICE not in ledger.accounts


_OWNERS = st.sampled_from((ALICE, BOB, CAROL, NOBODY))
_USERS = st.builds(
    User, _OWNERS, st.none() | st.floats(0.0, 80e9), st.sampled_from((0.0, 0.0, 0.3, 1.0))
)
_STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 1000.0),
        st.lists(_USERS, max_size=5),
        st.lists(st.builds(Holder, _OWNERS, st.sampled_from((1.0, 0.5))), max_size=3),
    ),
    max_size=40,
)


@given(_STEPS)
def test_the_owners_sum_to_the_counter(steps):
    """Through births and deaths of any kind; what waits for SM time is all that may be missing."""
    ledger = Ledger(most_owners=2)
    drawn, last = 0.0, 0.0
    for second, (watts, users, holders) in enumerate(steps, 1):
        before = _sum(ledger)
        ledger.step(float(second), 1.0, watts, IDLE, users=users, holders=holders)
        drawn += watts
        # Accounts that go take their sums with them, as their series do.
        last += max(_sum(ledger) - before, 0.0)
    end = len(steps) + 1
    ledger.step(end + LATE_SECONDS, 1.0, 0.0, IDLE, users=(), holders=())
    if len({o for _, u, h in steps for o in (*(x.owner for x in u), *(x.owner for x in h))}) <= 2:
        assert _sum(ledger) == pytest.approx(drawn, abs=1e-6)


def _sum(ledger: Ledger) -> float:
    return sum(a.idle_joules + a.active_joules for a in ledger.accounts.values())


class TestIdleDraw:
    def test_seen_at_rest(self):
        idle = IdleDraw()
        for watts, resting in ((400.0, False), (72.0, True), (90.0, False)):
            for _ in range(10):
                idle.step(1.0, watts, resting=resting)
        assert idle.watts(700.0) == 72.0

    def test_started_while_it_works(self):
        idle = IdleDraw()
        for _ in range(100):
            idle.step(1.0, 400.0, resting=False)
        assert idle.watts(700.0) == MOST_OF_LIMIT * 700.0
        assert idle.watts(None) == 400.0

    def test_a_counter_that_stands_still_in_every_other_step(self):
        idle = IdleDraw()
        assert idle.part(1.0, 140.0, None) == 0.0, "nothing is known yet"
        for _ in range(10):
            idle.step(1.0, 70.0, resting=True)
        parts = [idle.part(1.0, 140.0 * (second % 2), 700.0) for second in range(100)]
        assert sum(parts) == pytest.approx(7000.0)

    def test_work_after_a_counter_that_stood_still_for_long_is_work(self):
        idle = IdleDraw()
        for _ in range(10):
            idle.step(1.0, 70.0, resting=True)
        for _ in range(100):
            assert idle.part(1.0, 0.0, 700.0) == 0.0
        assert idle.part(1.0, 7000.0, 700.0) == pytest.approx(70.0 * (KEPT_SECONDS + 1.0))

    def test_nothing_is_known(self):
        assert IdleDraw().watts(None) == 0.0
