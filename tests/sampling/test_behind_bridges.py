"""Whose an address on the PCI bus is: a GPU's own, that of its bridge, and those of others."""

from __future__ import annotations

from gpu_sentinel.host import PciGpu
from gpu_sentinel.sampling.registry import Registry
from gpu_sentinel.sampling.roster import Roster
from gpu_sentinel.sampling.store import SnapshotStore

ALONE = PciGpu("0000:3b:00.0", "nvidia", bridge="0000:3a:00.0")
#: Two cards of one board, whose bridge has errors that may be either's.
TWINS = (
    PciGpu("0000:86:00.0", "nvidia", bridge="0000:85:00.0"),
    PciGpu("0000:87:00.0", "nvidia", bridge="0000:85:00.0"),
)
SHARED_BY_FUNCTIONS = (
    PciGpu("0000:99:00.0", "nvidia", bridge="0000:98:00.0"),
    PciGpu("0000:99:00.4", "", virtual=True, bridge="0000:98:00.0"),
)


def test_whose_an_address_is():
    on_bus: tuple[PciGpu, ...] = (ALONE, *TWINS, *SHARED_BY_FUNCTIONS)
    store = SnapshotStore()
    roster = Roster(store, Registry(), lambda: on_bus, lambda: None)
    assert roster.behind("0:3b:0") is None, "nobody has looked"
    roster.count()
    assert roster.behind("0:3b:0") == roster.behind("0:3a:0") == "0:3b:0"
    assert roster.behind("0:86:0") == "0:86:0"
    assert roster.behind("0:85:0") == "", "of two cards"
    assert roster.behind("0:98:0") == "0:99:0", "a virtual function is no card of its own"
    assert roster.behind("0:1:0") == "", "of another device"
    on_bus = ()
    roster.count()
    assert roster.behind("0:3a:0") == "0:3b:0", "the log tells of a card that was just taken out"
