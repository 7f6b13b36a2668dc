"""Sends one planned call through a client, for a whole answer or for deltas.

If only a tool call counts as an answer, nothing is yielded before a tool is called; an answer that calls none is
requested once more, and then `NoToolCallError` is raised. The usage of both answers is added up.
"""

import contextlib
from collections.abc import AsyncGenerator, Generator
from dataclasses import replace
from typing import TYPE_CHECKING

from qwen_omni.integrations.request_builder import RequestPlan
from qwen_omni.responses import Delta, Response, ResponseBuilder, ToolCallDelta, Usage, UsageDelta

if TYPE_CHECKING:
    from qwen_omni.client import AsyncOmniClient, OmniClient

_TRIES = 2


class RequiredToolCallBuffer:
    """Holds an answer back until it calls a tool. Pure.

    Example:
        >>> from qwen_omni.responses import TextDelta, ToolCallDelta
        >>> buffer = RequiredToolCallBuffer()
        >>> buffer.take(TextDelta("Let me look.")), len(buffer.take(ToolCallDelta(index=0, name="find")))
        ([], 2)
    """

    def __init__(self) -> None:
        self._held: list[Delta] = []
        self._before: Usage | None = None
        self._answer = ResponseBuilder()
        self.called = False
        """Whether a tool call has arrived."""

    def take(self, delta: Delta) -> list[Delta]:
        """Add one delta, and return those that may be shown."""
        if isinstance(delta, UsageDelta) and self._before is not None:
            delta = UsageDelta(add_usage(self._before, delta.usage))
        self._answer.add(delta)
        if self.called:
            return [delta]
        self._held.append(delta)
        if not isinstance(delta, ToolCallDelta):
            return []
        self.called = True
        return self._held

    @property
    def answer(self) -> Response:
        """The answer as far as it has arrived."""
        return self._answer.build()

    def again(self) -> Response:
        """Discard an answer without a tool call, keep its usage, and return it."""
        answer, self._answer, self._held = self.answer, ResponseBuilder(), []
        self._before = answer.usage or self._before
        return answer


def add_usage(first: Usage | None, second: Usage | None) -> Usage:
    """Add the usage of two answers."""
    one, two = first or Usage(), second or Usage()
    details = [
        {name: mine.get(name, 0) + theirs.get(name, 0) for name in (*mine, *theirs)}
        for mine, theirs in ((one.input_details, two.input_details), (one.output_details, two.output_details))
    ]
    return Usage(
        input_tokens=one.input_tokens + two.input_tokens,
        output_tokens=one.output_tokens + two.output_tokens,
        total_tokens=one.total_tokens + two.total_tokens,
        input_details=details[0],
        output_details=details[1],
    )


def stream(client: "OmniClient", plan: RequestPlan) -> Generator[Delta, None, None]:
    """Yield the deltas of the answer; raises as the client does, and `NoToolCallError`."""
    if not plan.must_call:
        yield from client.stream(plan.request)
        return
    buffer, refused = RequiredToolCallBuffer(), Response()
    for _ in range(_TRIES):
        for delta in client.stream(plan.request):
            yield from buffer.take(delta)
        if buffer.called:
            plan.check(buffer.answer)
            return
        refused = buffer.again()
    plan.check(refused)


async def astream(client: "AsyncOmniClient", plan: RequestPlan) -> AsyncGenerator[Delta, None]:
    """Yield the deltas of the answer; see `stream`."""
    buffer, refused = RequiredToolCallBuffer(), Response()
    for _ in range(_TRIES):
        async with contextlib.aclosing(client.stream(plan.request)) as deltas:
            async for delta in deltas:
                if not plan.must_call:
                    yield delta
                    continue
                for shown in buffer.take(delta):
                    yield shown
        if not plan.must_call:
            return
        if buffer.called:
            plan.check(buffer.answer)
            return
        refused = buffer.again()
    plan.check(refused)


def complete(client: "OmniClient", plan: RequestPlan) -> Response:
    """Return the whole answer; raises as `stream` does."""
    response = client.complete(plan.request)
    if plan.must_call and not response.tool_calls:
        again = client.complete(plan.request)
        response = replace(again, usage=add_usage(response.usage, again.usage))
    return plan.check(response)


async def acomplete(client: "AsyncOmniClient", plan: RequestPlan) -> Response:
    """Return the whole answer; see `complete`."""
    response = await client.complete(plan.request)
    if plan.must_call and not response.tool_calls:
        again = await client.complete(plan.request)
        response = replace(again, usage=add_usage(response.usage, again.usage))
    return plan.check(response)
