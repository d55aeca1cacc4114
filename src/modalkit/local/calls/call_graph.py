"""Which call made which: the tree that `FunctionCall.get_call_graph` shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..protocol import api, fitting

__all__ = ["CallNode", "InputNode"]

# Inputs of one tree that are remembered; the client says so when there were more.
_LARGEST_GRAPH = 1000


@dataclass(eq=False, slots=True)
class InputNode:
    """One input: where it ran and how it ended."""

    id: str
    task_id: str = ""
    status: api.GenericResult.GenericStatus.ValueType = api.GenericResult.GENERIC_STATUS_UNSPECIFIED


@dataclass(eq=False, slots=True)
class _Budget:
    left: int = _LARGEST_GRAPH


@dataclass(eq=False, slots=True)
class CallNode:
    """One call, its inputs, and the calls that these made."""

    call_id: str
    function: str
    module: str
    parent_input_id: str = ""
    inputs: list[InputNode] = field(default_factory=list)
    children: list[CallNode] = field(default_factory=list)
    budget: _Budget = field(default_factory=_Budget)
    above: CallNode | None = None  # where the tree begins; None at its root

    def adopt(self, child: CallNode) -> None:
        """Hang the node of a call that one of these inputs made below this one."""
        child.budget = self.budget
        child.above = self.above or self
        if self.budget.left > 0:
            self.children.append(child)

    def add_input(self, input_id: str) -> InputNode | None:
        """Remember an input, unless the tree is full."""
        self.budget.left -= 1
        if self.budget.left < 0:
            return None
        self.inputs.append(InputNode(input_id))
        return self.inputs[-1]

    def describe(self) -> api.FunctionGetCallGraphResponse:
        """Describe the whole tree that this call is part of to the client."""
        graph = fitting(api.FunctionGetCallGraphResponse, truncated=self.budget.left < 0)
        root = self.above or self
        for node in root._below():  # noqa: SLF001 - another node of the same tree
            graph.function_calls.add(
                function_call_id=node.call_id,
                parent_input_id=node.parent_input_id,
                function_name=node.function,
                module_name=node.module,
            )
            for entry in node.inputs:
                graph.inputs.add(
                    input_id=entry.id,
                    status=entry.status,
                    function_call_id=node.call_id,
                    task_id=entry.task_id,
                )
        return graph

    def _below(self) -> Iterator[CallNode]:
        yield self
        for child in self.children:
            yield from child._below()  # noqa: SLF001 - another node of the same tree
