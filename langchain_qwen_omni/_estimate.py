"""`ChatQwenOmni.estimate`: a planned call → what it will use and cost. The core does the reckoning."""

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import SecretStr

from qwen_omni.call_plan import Plan
from qwen_omni.responses import Usage
from qwen_omni.settings import API_KEY_VARIABLE

if TYPE_CHECKING:
    from qwen_omni.spend.estimates import Estimate

ESTIMATED = "estimated_input_tokens"
"""Where a message's `response_metadata` tells what its input had been estimated at."""


def estimate_plan(plan: Plan, answer_tokens: int | None = None) -> "Estimate":
    """Tell what a planned call will use and cost. Needs no key, since nothing is sent."""
    from qwen_omni.spend.estimating import estimate  # noqa: PLC0415 - brings the media modules; loads on first use

    connection = plan.connection
    if connection.api_key is None and not os.environ.get(API_KEY_VARIABLE):
        connection = replace(connection, api_key=SecretStr("none is needed"))
    return estimate(plan.request, settings=connection.load(), answer_tokens=answer_tokens)


def estimated_beside(usage: Usage | None) -> dict[str, int]:
    """Give what joins a message's metadata: what its input had been estimated at, if it was."""
    return {} if usage is None or usage.estimated_input is None else {ESTIMATED: usage.estimated_input}
