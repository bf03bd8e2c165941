"""How many tokens, and how much money, may one run still spend on its language model?"""

from typing import Final

from tools.contracts.language import LanguageSpec, Prices, Usage
from tools.errors import ModelUnavailable

_MILLION: Final = 1_000_000
_LEAST_ANSWER: Final = 64
"""Tokens below which an answer is not worth asking for."""


def cost_of(prices: Prices | None, tokens_in: int | None, tokens_out: int | None) -> float | None:
    """None where prices or tokens are unknown: unknown is not zero."""
    if prices is None or tokens_in is None or tokens_out is None:
        return None
    return (tokens_in * prices.input + tokens_out * prices.output) / _MILLION


def estimated_tokens(text: str) -> int:
    """From above for most texts: four bytes of English are a token, and other scripts take more bytes."""
    return len(text.encode(errors="replace")) // 3 + 8


class Budget:
    """What one run may spend; every question takes from it."""

    def __init__(self, spec: LanguageSpec) -> None:
        self._prices = spec.prices
        self._tokens_left: float = spec.max_tokens_per_run
        self._cost_left = spec.max_cost_per_run
        self._in = self._out = 0

    @property
    def used(self) -> Usage:
        """Everything so far; estimated from above where the endpoint did not say."""
        return usage_of(self._prices, self._in, self._out)

    def room(self, tokens_in: int, wanted: int) -> int:
        """Tokens that the answer to a question of `tokens_in` may have, `wanted` at most.

        Raises:
            ModelUnavailable: Too few are left for any answer.
        """
        room = self._tokens_left - tokens_in
        if room < _LEAST_ANSWER:
            raise ModelUnavailable("the run's token budget is spent", kind="budget", remedy="raise max_tokens_per_run")
        if self._cost_left is not None and self._prices is not None:
            money = self._cost_left * _MILLION - tokens_in * self._prices.input
            if money < _LEAST_ANSWER * self._prices.output or money <= 0:
                raise ModelUnavailable("the run's cost cap is reached", kind="budget", remedy="raise max_cost_per_run")
            if self._prices.output > 0:
                room = min(room, money / self._prices.output)
        return int(min(room, wanted))

    def spend(self, tokens_in: int, tokens_out: int) -> None:
        """Takes what an answer took, or what it is thought to have taken."""
        self._tokens_left -= tokens_in + tokens_out
        self._in, self._out = self._in + tokens_in, self._out + tokens_out
        cost = cost_of(self._prices, tokens_in, tokens_out)
        if self._cost_left is not None and cost is not None:
            self._cost_left -= cost


def usage_of(prices: Prices | None, tokens_in: int | None, tokens_out: int | None) -> Usage:
    """Tokens with their cost."""
    return Usage(tokens_in=tokens_in, tokens_out=tokens_out, cost=cost_of(prices, tokens_in, tokens_out))
