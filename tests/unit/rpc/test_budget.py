"""Who pays when calls hold too much."""

from __future__ import annotations

import attrs
import pytest

from crirm.rpc.budget import Account, Budget


@attrs.define(eq=False)
class Call:
    """A call that notes why it was ended."""

    ended: str = ""

    def let_go(self, why: str) -> None:
        self.ended = why


def test_a_caller_that_holds_too_much_loses_the_call_that_wants_more() -> None:
    account = Account(budget := Budget(most_bytes=1000, most_of_one_bytes=100))
    first, second = Call(), Call()
    account.hold(first, 90)
    account.hold(second, 20)
    assert (first.ended, "100 bytes" in second.ended) == ("", True)
    assert (budget.held_bytes, account.held_bytes) == (90, 90)


@pytest.mark.parametrize("wants", [pytest.param(0, id="it wants more"), pytest.param(1, id="another wants a little")])
def test_of_all_callers_the_one_that_holds_the_most_pays(wants: int) -> None:
    budget = Budget(most_bytes=100, most_of_one_bytes=100)
    greedy, modest = Account(budget), Account(budget)
    large, larger, small = Call(), Call(), Call()
    greedy.hold(large, 30)
    greedy.hold(larger, 50)
    modest.hold(small, 10)
    (greedy if wants == 0 else modest).hold(large if wants == 0 else small, 15)
    assert larger.ended
    assert not small.ended
    assert budget.held_bytes <= 100


def test_nothing_is_held_when_all_is_given_back() -> None:
    account = Account(budget := Budget())
    call = Call()
    account.hold(call, 50)
    account.hold(call, -20)
    account.hold(call, -60)
    account.release(call)
    assert (0, 0, set()) == (budget.held_bytes, account.held_bytes, budget.accounts)
