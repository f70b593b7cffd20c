"""The queries of the page about owners, asked of a Prometheus that scrapes a simulation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

#: Finds something only where something is nobody's.
SILENT = ['owner_kind="none"']


def test_queries_of_the_page(serve, prometheus, eventually, repository: Path):
    page = (repository / "docs" / "owners.md").read_text()
    questions = page.partition("## Questions and queries")[2]
    queries = set(re.findall(r"^\| [^|]+ \| `(.+)` \|$", questions, re.MULTILINE))
    assert len(queries) > 10
    server = prometheus(serve("idle-allocation", "--metrics.enable", "processes").port)
    missing = {query for query in queries if not any(part in query for part in SILENT)}
    assert len(missing) == len(queries) - len(SILENT)

    def all_answered() -> bool:
        missing.difference_update({q for q in missing if server.query(q)})
        return not missing

    try:
        eventually(all_answered, 60, "every query is answered")
    except AssertionError:
        pytest.fail(f"without an answer: {missing}")
    for query in queries:
        server.query(query)  # those that found nothing are valid
    idle = next(q for q in queries if q.startswith("gpu_allocation_info unless"))
    # The second GPU of the job, and the one of the pod; the first is in use.
    eventually(lambda: len(server.query(idle)) == 2, 60, "what is held in vain is found")
    assert {labels["gpu"] for labels, _ in server.query(idle)} == {"1", "2"}
