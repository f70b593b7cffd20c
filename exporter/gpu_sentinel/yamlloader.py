"""What `yamlfile` reads with; by itself because it loads the parser."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

#: Levels of a file; ours have seven.
MOST_LEVELS = 50
#: Values of a file, those behind an alias counted each time that they are named.
MOST_VALUES = 100_000
#: Digits of a number; what has more is none, and takes long to be read as one.
_MOST_DIGITS = 100

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class StrictLoader(yaml.SafeLoader):
    """Refuses what YAML would take and nobody means.

    A key that is there twice, of which YAML would silently keep the last; aliases that make a
    small file a huge one, or refer to what they are in; numbers of thousands of digits.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._level = 0
        self._values = 0
        #: By the node's identity, how many values are in it; not there until it is complete.
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._values
        if self._level == MOST_LEVELS:
            raise _problem("is nested too deeply", event.start_mark)
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        if node is None:
            return None
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise _problem("the alias refers to what it is in", event.start_mark)
            self._values += self._sizes[id(node)]
        else:
            self._values += 1
            self._sizes[id(node)] = self._values - before
        if self._values > MOST_VALUES:
            raise _problem(f"holds more than {MOST_VALUES} values", event.start_mark)
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if node.tag in _NUMBERS and len(str(node.value)) > _MOST_DIGITS:
            raise _problem(f"a number has more than {_MOST_DIGITS} digits", node.start_mark)
        return super().construct_scalar(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise _problem(f"the key {key!r} is there twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _problem(what: str, where: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=where)
