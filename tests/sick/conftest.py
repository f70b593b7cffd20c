"""The tests of rules know how to ask Prometheus' own engine which alerts fire."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "rules"))
