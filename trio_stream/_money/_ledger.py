"""What a job has used so far, what is under way, and whether the budget has room for more.

What belongs here: adding up, and the rule by which requests are let through. What does not: waiting for room, and
stopping a job; each room that spends does that itself.

The rule, for a request that asks to be sent. *E* is the length that is expected of its answer::

    E = min(max_tokens, (output of ended answers + output so far of those under way + max_tokens) / (ended answers + 1))

Its last term matters while few answers have ended: those are the short ones, and their mean misleads. A request under
way reserves its prompt and max(E, what has arrived + E / 2) tokens, as one that is longer than expected is likely to go
on. The request is sent if

(a) spent + reserved + its own E <= limit, and
(b) the same, with ``max_tokens`` for each in place of what is expected, <= limit * (1 + overshoot).

With nothing under way (a) decides alone, and the very first request of a job is always sent. A limit on output tokens
is compared in the same way, except that with nothing under way a request is sent as long as any token is left.

What a prompt costs is estimated from its length before it is sent, and comes out otherwise: mostly at a tenth or less
where it is read from the prompt cache. So each estimate is multiplied by what the prompts so far have cost in relation
to theirs.

Answers of earlier runs that have left no figures count as the mean of all that have; before any has ended, as *E*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, final

from trio_stream._money._budget import Budget
from trio_stream._money._charges import Charge, charges_of
from trio_stream._money._costs import Costs
from trio_stream._money._estimate import OutputEstimate
from trio_stream._money._prices import PriceLookup, Prices, lookup_of
from trio_stream._money._reservation import Reservation, Room
from trio_stream._protocol import Usage


@final
class Ledger:
    """The tokens, requests and money that a job has used so far, compared with its budget.

    Args:
      budget: The limits.
      prices: The prices of tokens; None for those of the budget, or the built-in ones.

    Attributes:
      requests: Requests made; counted by whoever sends them.
      input_tokens: Uncached input tokens.
      output_tokens: Output tokens.
      cache_read_tokens: Input tokens read from the prompt cache.
      cache_write_tokens: Input tokens written to the prompt cache.
      costs: What all that has a known price cost, by kind.
      cost_failed: The part of the cost that was for attempts which failed or were cancelled.
      cost_estimated: The part of the cost that was for answers which were cut, so that their output is estimated.
      unpriced: The models that were used and whose prices are not known.
      estimate: Estimates the output of answers that were cut.
    """

    __slots__ = (
        "_batched",
        "_before_tokens",
        "_budget",
        "_ended",
        "_held_cost",
        "_held_tokens",
        "_known_before",
        "_lookup",
        "_prompts_estimated",
        "_prompts_paid",
        "_reserved",
        "_reserved_output",
        "_reserved_prompts",
        "_reserved_tokens",
        "_streamed",
        "_unknown",
        "_unsent",
        "_written",
        "cache_read_tokens",
        "cache_write_tokens",
        "cost_estimated",
        "cost_failed",
        "costs",
        "estimate",
        "input_tokens",
        "output_tokens",
        "requests",
        "unpriced",
    )

    def __init__(self, budget: Budget, prices: Prices | PriceLookup | None = None) -> None:
        self._budget = budget
        self._lookup = lookup_of(budget.prices if prices is None else prices)
        self._reserved = 0  # requests; these are streamed, or in message batches:
        self._streamed: set[Reservation] = set()
        # By the price of a token and `max_tokens`: how many, and what their prompts cost. There may be 100,000.
        self._batched: dict[tuple[float, int], tuple[int, float]] = {}
        self._reserved_prompts = 0.0  # sums over all of them
        self._reserved_output = 0.0  # what their answers cost at most
        self._reserved_tokens = 0  # and how long they are at most
        self._prompts_estimated = 0.0  # of answers that have ended
        self._prompts_paid = 0.0
        self._unsent = 0  # of those reserved
        self._ended = 0  # answers of all runs, and their output
        self._written = 0
        self._before_tokens = 0
        self._known_before = 0.0
        self._unknown = 0  # answers of earlier runs that have left no figures
        self._held_cost = 0.0
        self._held_tokens = 0.0
        self.requests: int = 0
        self.input_tokens: int = 0
        self.output_tokens: int = 0
        self.cache_read_tokens: int = 0
        self.cache_write_tokens: int = 0
        self.costs: Costs = Costs()
        self.cost_failed: float = 0.0
        self.cost_estimated: float = 0.0
        self.unpriced: set[str] = set()
        self.estimate: OutputEstimate = OutputEstimate()

    @property
    def cost(self) -> float:
        """What everything cost that has a known price, without `cost_before`."""
        return self.costs.total

    @property
    def cost_before(self) -> float:
        """What earlier runs of the job cost."""
        mean = (self._known_before + self.cost) / self._ended if self._unknown and self._ended else 0.0
        return self._known_before + self._unknown * mean

    @property
    def limited(self) -> bool:
        """Whether the budget has any limit."""
        budget = self._budget
        return budget.cost is not None or budget.output_tokens is not None or budget.requests is not None

    # What was used.

    def add(
        self, usage: Usage, *, model: str = "", failed: bool = False, estimated: bool = False
    ) -> tuple[Charge, ...]:
        """Add the tokens of one answer, complete or cut.

        Args:
          usage: The usage of the answer.
          model: The model that answered.
          failed: Whether the attempt failed or was cancelled.
          estimated: Whether the output tokens are an estimate.

        Returns:
          What was charged, for the journal.
        """
        charges = charges_of(usage, model, estimated=estimated)
        for charge in charges:
            self.input_tokens += charge.input
            self.output_tokens += charge.output
            self.cache_read_tokens += charge.cache_read
            self.cache_write_tokens += charge.cache_write + charge.cache_write_1h
            self._written += charge.output
            cost = self._cost(charge)
            self.costs += cost
            if failed:
                self.cost_failed += cost.total
            if estimated:
                self.cost_estimated += cost.total
        self._ended += 1
        return charges

    def add_before(self, charges: Iterable[Charge], *, unknown: int = 0) -> None:
        """Add what earlier runs of the job were charged for.

        Args:
          charges: The charges.
          unknown: How many further answers have left no figures.
        """
        for charge in charges:
            self._before_tokens += charge.output
            self._written += charge.output
            self._ended += charge.answers
            self._known_before += self._cost(charge).total
        self._unknown = unknown

    def learn_prompt(self, reservation: Reservation, charges: Iterable[Charge]) -> None:
        """A request was charged for: compare what its prompt cost with the estimate of that."""
        paid = 0.0
        for charge in charges:
            costs = self._cost(charge)
            paid += costs.total - costs.output
        self._prompts_estimated += reservation.prompt
        self._prompts_paid += paid

    def _cost(self, charge: Charge) -> Costs:
        prices = self._lookup(charge.model)
        if prices is None:
            self.unpriced.add(charge.model)
            return Costs()
        return prices.costs(charge)

    def known_model(self, answered: str, *, asked: str) -> str:
        """Return the model by whose prices an answer is charged.

        That is the model that answered. A gateway may call it by a name of its own, which has no price; then it is the
        model that was asked, if that has one.
        """
        if self._lookup(answered) is None and self._lookup(asked) is not None:
            return asked
        return answered

    # What is under way.

    def reservation(self, prompt: Charge, *, max_tokens: int) -> Reservation:
        """Make the reservation of a request. It counts once `reserve` has been called with it.

        Raises:
          ValueError: Cost is limited, and the prices of the request's model are not known.
        """
        prices = self._lookup(prompt.model)
        if prices is None and self._budget.cost is not None:
            raise ValueError(
                f"the prices of the model {prompt.model!r} are not known, so its cost cannot be limited: "
                "give them as prices="
            )
        return Reservation(prompt, max_tokens=max_tokens, prices=prices)

    def reserve(self, wanted: Reservation) -> None:
        """A request is about to be sent. Call `release` in the end."""
        if not wanted.batched:
            self._streamed.add(wanted)
        self._add_to_sums(wanted, 1)
        self._unsent += 1

    def sent(self, reservation: Reservation) -> None:
        """A request is sent."""
        reservation.sent = True
        self._unsent -= 1
        self.requests += 1

    def release(self, reservation: Reservation) -> None:
        """A request is over, and was charged, or has not been sent."""
        if not reservation.batched:
            self._streamed.remove(reservation)
        self._add_to_sums(reservation, -1)
        if not reservation.sent:
            self._unsent -= 1

    def _add_to_sums(self, reservation: Reservation, times: Literal[1, -1]) -> None:
        self._reserved += times
        if self._reserved:
            self._reserved_prompts += times * reservation.prompt
            self._reserved_output += times * reservation.price * reservation.max_tokens
            self._reserved_tokens += times * reservation.max_tokens
        else:  # what rounding has left is forgotten
            self._reserved_prompts, self._reserved_output, self._reserved_tokens = 0.0, 0.0, 0
        if reservation.batched:
            kind = reservation.price, reservation.max_tokens
            count, prompts = self._batched.pop(kind, (0, 0.0))
            if count + times:
                self._batched[kind] = count + times, prompts + times * reservation.prompt

    def hold(self, elsewhere: Reservation) -> None:
        """A request of an earlier run goes on, and will be charged to a later one: what it is expected to cost is gone.

        Unlike what is reserved, it makes no room again in this run.
        """
        tokens = self._expected(elsewhere, 0)
        self._held_tokens += tokens
        self._held_cost += elsewhere.prompt + elsewhere.price * tokens

    # What is left.

    def used_up(self) -> str | None:
        """Return a sentence that says which limit has been reached; None while more may be started."""
        return self.used_up_beside_requests() or _say_used_up("requests", self._budget.requests, self.requests)

    def used_up_beside_requests(self) -> str | None:
        """As `used_up`, for what makes no request."""
        if self._budget.cost is not None and self.unpriced:
            return f"the budget cannot be kept: the prices of {', '.join(sorted(self.unpriced))!r} are not known"
        tokens = _say_used_up("output tokens", self._budget.output_tokens, self._tokens_gone)
        return tokens or _say_used_up("cost", self._budget.cost, self._cost_gone)

    @property
    def _tokens_gone(self) -> float:
        mean = self._written / self._ended if self._unknown and self._ended else 0.0
        return self._before_tokens + self._unknown * mean + self.output_tokens + self._held_tokens

    @property
    def _cost_gone(self) -> float:
        return self.cost_before + self.cost + self._held_cost

    def room_for(self, wanted: Reservation) -> Room:
        """Whether the budget has room for one more request, by the rule above."""
        budget = self._budget
        if self.used_up() is not None:
            return Room.NEVER
        if budget.requests is not None and self.requests + self._unsent >= budget.requests:
            return Room.LATER
        if budget.output_tokens is not None and self._reserved and not self._fits_tokens(wanted, budget.output_tokens):
            return Room.LATER
        is_first = not (self._ended or self._reserved or self._held_cost)
        if budget.cost is not None and not is_first and not self._fits_cost(wanted, budget.cost):
            return Room.LATER if self._reserved else Room.NEVER
        return Room.YES

    def no_room(self, wanted: Reservation) -> str:
        """Return a sentence that says why there is no room, where `room_for` said so."""
        spent, limit = self._cost_gone, self._budget.cost
        return self.used_up() or (
            f"the budget is used up: {spent:.6g} of {limit:.10g} cost, and another answer is expected to cost "
            f"{self._prompt_share(wanted) * wanted.prompt + wanted.price * self._expected(wanted, 0):.2g}"
        )

    def _fits_tokens(self, wanted: Reservation, limit: float) -> bool:
        """Rules (a) and (b), in output tokens."""
        gone = self._tokens_gone + self._of_the_unknown(self._expected(wanted, 0))
        most = gone + self._reserved_tokens + wanted.max_tokens

        def value(_prompt: float, _price: float, tokens: float) -> float:
            return tokens

        return self._fits(wanted, gone, most, limit, value)

    def _fits_cost(self, wanted: Reservation, limit: float) -> bool:
        """Rules (a) and (b), in money."""
        share = self._prompt_share(wanted)

        def value(prompt: float, price: float, tokens: float) -> float:
            return share * prompt + price * tokens

        gone = self._cost_gone + self._of_the_unknown(value(wanted.prompt, wanted.price, self._expected(wanted, 0)))
        under_way = share * self._reserved_prompts + self._reserved_output
        most = gone + under_way + value(wanted.prompt, wanted.price, wanted.max_tokens)
        return self._fits(wanted, gone, most, limit, value)

    def _prompt_share(self, wanted: Reservation) -> float:
        """What prompts cost, as a share of their estimates. That of the asker counts as one that came out as it was."""
        estimated = self._prompts_estimated + wanted.prompt
        return (self._prompts_paid + wanted.prompt) / estimated if estimated else 1.0

    def _of_the_unknown(self, each: float) -> float:
        """What answers without figures have used, while no answer of this run says what one does."""
        return 0.0 if self._ended else self._unknown * each

    def _fits(
        self,
        wanted: Reservation,
        gone: float,
        most: float,
        limit: float,
        value: Callable[[float, float, float], float],
    ) -> bool:
        """Rules (a) and (b).

        Args:
          wanted: Whose request asks.
          gone: What is spent.
          most: The same, with all that is reserved and asked for, should each answer be as long as it may.
          limit: The limit.
          value: What requests come to, by what their prompts cost, what a token costs, and the tokens of their answers.
        """
        if most <= limit:
            return True  # then (a) holds too, and nothing else need be known about those under way
        if self._reserved and most > limit * (1 + self._budget.overshoot):
            return False
        arrived = {request: request.written() for request in self._streamed}
        under_way = sum(arrived.values())
        expected = gone + value(wanted.prompt, wanted.price, self._expected(wanted, under_way))
        for request, so_far in arrived.items():
            length = self._expected(request, under_way)
            length = min(request.max_tokens, max(length, so_far + length / 2))
            expected += value(request.prompt, request.price, length)
        for (price, max_tokens), (count, prompts) in self._batched.items():
            expected += value(prompts, price, count * self._expected_of(max_tokens, under_way))
        return expected <= limit

    def _expected(self, reservation: Reservation, under_way: int) -> float:
        """*E*: how long an answer is expected to be, in tokens."""
        return self._expected_of(reservation.max_tokens, under_way)

    def _expected_of(self, max_tokens: int, under_way: int) -> float:
        return min(max_tokens, (self._written + under_way + max_tokens) / (self._ended + 1))


def _say_used_up(name: str, limit: float | None, used: float) -> str | None:
    if limit is None or used < limit:
        return None
    return f"the budget is used up: {used:.10g} of {limit:.10g} {name}"
