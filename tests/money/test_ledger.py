"""Adding up what was used, and saying when there is room for more."""

from __future__ import annotations

import pytest

import trio_stream as ts
from trio_stream._money import Charge, ChargeSums, Ledger, Reservation, Room

DOLLAR_A_TOKEN = ts.Prices(input=1e6, output=1e6)


def want(ledger: Ledger, *, max_tokens: int = 100, prompt: int = 0, model: str = "") -> Reservation:
    return ledger.reservation(Charge(model=model, input=prompt), max_tokens=max_tokens)


def send(ledger: Ledger, *, max_tokens: int = 100, prompt: int = 0) -> Reservation:
    reservation = want(ledger, max_tokens=max_tokens, prompt=prompt)
    assert ledger.room_for(reservation) is Room.YES
    ledger.reserve(reservation)
    ledger.sent(reservation)
    return reservation


def end(ledger: Ledger, reservation: Reservation, tokens: int) -> None:
    ledger.add(ts.Usage(output_tokens=tokens))
    ledger.release(reservation)


@pytest.mark.parametrize("options", [{"requests": -1}, {"cost": float("nan")}, {"overshoot": -0.1}])
def test_budgets_that_cannot_be(options):
    """A limit is a number that is not negative."""
    with pytest.raises(ValueError, match="budget"):
        ts.Budget(**options)


def test_no_budget_is_never_used_up():
    """Without a limit there is always room, whatever is used and reserved."""
    ledger = Ledger(ts.Budget())
    ledger.add(ts.Usage(output_tokens=10**12))
    assert ledger.used_up() is None
    assert not ledger.limited
    for _ in range(3):
        send(ledger, max_tokens=10**12)


def test_requests():
    """A limit on requests counts those that have room and are not sent yet."""
    ledger = Ledger(ts.Budget(requests=5))
    assert ledger.limited
    for _ in range(3):
        ledger.release(send(ledger))
    waiting = [want(ledger), want(ledger)]
    for reservation in waiting:
        assert ledger.room_for(want(ledger)) is Room.YES
        ledger.reserve(reservation)
    assert ledger.room_for(want(ledger)) is Room.LATER
    ledger.release(waiting[0])  # it was never sent
    assert ledger.room_for(want(ledger)) is Room.YES
    send(ledger)
    ledger.sent(waiting[1])
    assert ledger.room_for(want(ledger)) is Room.NEVER
    assert "5 of 5 requests" in str(ledger.used_up())
    assert ledger.used_up_beside_requests() is None


def test_a_short_first_answer_says_little_about_the_next():
    """The expected length falls from ``max_tokens`` to the mean as answers end, since short ones end first."""
    ledger = Ledger(ts.Budget(cost=1000), DOLLAR_A_TOKEN)
    first = send(ledger)
    assert ledger.room_for(want(ledger, max_tokens=900)) is Room.YES  # 100 + 900, the longest of both
    assert ledger.room_for(want(ledger, max_tokens=901)) is Room.LATER
    end(ledger, first, 10)
    # E = (10 + 1,500) / 2 = 755; with 1,971 it is 990.5.
    assert ledger.room_for(want(ledger, max_tokens=1500)) is Room.YES
    assert ledger.room_for(want(ledger, max_tokens=1971)) is Room.NEVER
    for _ in range(8):
        end(ledger, send(ledger), 10)
    assert ledger.room_for(want(ledger, max_tokens=1971)) is Room.YES


def test_the_worst_case_stays_within_the_overshoot():
    """Where every answer may be as long as ``max_tokens``, the sum is at most a tenth over the limit."""
    ledger = Ledger(ts.Budget(cost=1000), DOLLAR_A_TOKEN)
    for _ in range(50):
        end(ledger, send(ledger), 1)
    # 50 spent; each is expected to take about 3 tokens, and may take 100: 50 + 10 * 100 <= 1,100.
    live = [send(ledger) for _ in range(10)]
    assert ledger.room_for(want(ledger)) is Room.LATER
    ledger.release(live[0])
    assert ledger.room_for(want(ledger)) is Room.YES


def test_an_overshoot_of_nothing():
    """With ``overshoot=0`` the limit is never exceeded, but by the very first answer."""
    ledger = Ledger(ts.Budget(cost=150, overshoot=0), DOLLAR_A_TOKEN)
    end(ledger, send(ledger), 1)
    send(ledger)
    assert ledger.room_for(want(ledger)) is Room.LATER
    send(ledger, max_tokens=49)


def test_what_has_arrived_counts():
    """An answer that is longer than expected is taken to go on for half of what is expected."""
    ledger = Ledger(ts.Budget(cost=1000, overshoot=9), DOLLAR_A_TOKEN)
    for _ in range(9):
        end(ledger, send(ledger), 20)
    live = send(ledger, max_tokens=2000)
    # 180 spent, E = (180 + 2,000) / 10 = 218 for the live one and the next.
    assert ledger.room_for(want(ledger, max_tokens=2000)) is Room.YES
    live.written = lambda: 600
    # Now the next is expected to take 278 tokens, and the live one 600 and half of that; 180 are spent.
    assert ledger.room_for(want(ledger, max_tokens=2000)) is Room.LATER
    live.written = lambda: 1990  # never more than it may be
    assert ledger.room_for(want(ledger, max_tokens=1)) is Room.LATER


def test_the_first_request_of_a_job_is_always_sent():
    """Even where it may cost more than the budget has; the next is not."""
    ledger = Ledger(ts.Budget(cost=10), DOLLAR_A_TOKEN)
    first = send(ledger, max_tokens=10_000)
    assert ledger.room_for(want(ledger)) is Room.LATER
    end(ledger, first, 5)
    assert ledger.room_for(want(ledger)) is Room.NEVER
    assert ledger.no_room(want(ledger)).startswith("the budget is used up: 5 of 10 cost, and another answer")
    # But not with a budget of nothing.
    assert Ledger(ts.Budget(cost=0)).room_for(want(ledger)) is Room.NEVER


def test_output_tokens():
    """A limit on tokens is compared likewise; with nothing under way any token that is left is enough."""
    ledger = Ledger(ts.Budget(output_tokens=1000))
    for _ in range(9):
        end(ledger, send(ledger), 100)
    live = send(ledger)
    assert ledger.room_for(want(ledger)) is Room.LATER
    assert ledger.room_for(want(ledger, max_tokens=0)) is Room.YES
    end(ledger, live, 99)
    end(ledger, send(ledger), 50)
    assert ledger.room_for(want(ledger)) is Room.NEVER
    assert "1049 of 1000 output tokens" in ledger.no_room(want(ledger))


def test_prompts_cost_too():
    """What a prompt costs is reserved with the answer, by the prices for its speed."""
    ledger = Ledger(ts.Budget(cost=1000), DOLLAR_A_TOKEN)
    fast = ledger.reservation(Charge(input=100, speed="fast"), max_tokens=10)
    assert (fast.prompt, fast.price, fast.most) == pytest.approx((200, 2, 220))
    send(ledger, prompt=600)
    assert ledger.room_for(want(ledger, prompt=201)) is Room.LATER
    send(ledger, prompt=200)


def test_models_without_prices():
    """They are named, cost nothing that is known, and are not sent where cost is limited."""
    ledger = Ledger(ts.Budget())
    assert want(ledger, model="mine").most == 0
    ledger.add(ts.Usage(output_tokens=10), model="mine")
    assert (ledger.cost, ledger.output_tokens, ledger.unpriced) == (0, 10, {"mine"})
    limited = Ledger(ts.Budget(cost=1))
    with pytest.raises(ValueError, match="the prices of the model 'mine' are not known"):
        want(limited, model="mine")
    limited.add(ts.Usage(output_tokens=10), model="mine")  # a step of an answer, say
    assert limited.room_for(want(limited, model="claude-opus-5")) is Room.NEVER
    assert limited.used_up() == "the budget cannot be kept: the prices of 'mine' are not known"


def test_the_model_by_whose_prices_an_answer_is_charged():
    """A gateway may name its answers as it likes."""
    ledger = Ledger(ts.Budget())
    assert ledger.known_model("claude-opus-5", asked="claude-haiku-5-5") == "claude-opus-5"
    assert ledger.known_model("proxy/1", asked="claude-haiku-5-5") == "claude-haiku-5-5"
    assert ledger.known_model("proxy/1", asked="mine") == "proxy/1"


def test_the_parts_of_the_cost():
    """Failed and estimated attempts are part of the cost, earlier runs are not, and the budget counts all."""
    ledger = Ledger(ts.Budget(cost=100), DOLLAR_A_TOKEN)
    ledger.add_before([Charge(output=40, answers=2)])
    ledger.add(ts.Usage(input_tokens=1, output_tokens=9, cache_read_input_tokens=10, cache_creation_input_tokens=4))
    charges = ledger.add(ts.Usage(output_tokens=20), model="m", failed=True, estimated=True)
    assert charges == (Charge(model="m", output=20, estimated=True),)
    assert (ledger.cost_before, ledger.cost, ledger.cost_failed, ledger.cost_estimated) == pytest.approx(
        (40, 1 + 9 + 1 + 5 + 20, 20, 20)
    )
    assert (ledger.input_tokens, ledger.cache_read_tokens, ledger.cache_write_tokens) == (1, 10, 4)
    ledger.add(ts.Usage(output_tokens=24))
    assert ledger.used_up() == "the budget is used up: 100 of 100 cost"


def test_sums_of_charges():
    """Charges of one kind are one sum; prompts of other lengths are kept apart, as they may have other prices."""
    sums = ChargeSums()
    sums.add_unknown(3)
    assert sums.totals() == ()
    sums.add([Charge(model="a", input=10, output=1), Charge(model="a", input=20, output=3), Charge(model="b")])
    sums.add([Charge(model="a", input=150_000), Charge(model="a", input=10, tier="batch")])
    assert sums.totals() == (
        Charge(model="a", input=30, output=4, answers=2),
        Charge(model="b"),
        Charge(model="a", input=150_000),
        Charge(model="a", input=10, tier="batch"),
    )
    assert sums.totals()[0].prompt == 15
    sums.add_unknown(5)
    assert Charge(model="a", input=30, output=4, answers=2, estimated=True) in sums.totals()[4:]


@pytest.mark.parametrize("limit", ["cost", "output_tokens"])
def test_requests_in_message_batches_reserve_what_streams_do(limit, monkeypatch):
    """At half the price, as nothing of an answer arrives before all of it; and how many there are costs no time."""
    looked_at = 0
    expected_of = Ledger._expected_of

    def count(self: Ledger, max_tokens: int, under_way: int) -> float:
        nonlocal looked_at
        looked_at += 1
        return expected_of(self, max_tokens, under_way)

    monkeypatch.setattr(Ledger, "_expected_of", count)
    sent: dict[str | None, list[int]] = {}
    for tier, price in ((None, 1.0), ("batch", 0.5)):
        most = 1e9 if limit == "output_tokens" else 40_000 * price
        ledger = Ledger(ts.Budget(cost=most, output_tokens=40_000, overshoot=0.5), DOLLAR_A_TOKEN)
        ledger.add(ts.Usage(output_tokens=20))
        requests: list[Reservation] = []
        sent[tier] = []
        looked_at = 0
        for number in range(2000):
            reservation = ledger.reservation(Charge(input=3, tier=tier), max_tokens=100 + number % 3)
            if ledger.room_for(reservation) is Room.YES:
                ledger.reserve(reservation)
                requests.append(reservation)
                sent[tier].append(number)
        for reservation in requests:
            ledger.release(reservation)
        assert ledger.room_for(want(ledger, max_tokens=10_000)) is Room.YES
    assert sent["batch"] == sent[None]
    assert 400 < len(sent[None]) < 800
    assert looked_at < 2000 * 6
