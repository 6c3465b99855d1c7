from __future__ import annotations

import pytest

from crirm.sim.calls import Calls


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(None, "answered", id="no error"),
        pytest.param(ValueError(), "failed", id="an error"),
        pytest.param(KeyboardInterrupt(), "cancelled", id="broken off"),
    ],
)
def test_end_of_a_call_is_counted(error: BaseException | None, kind: str) -> None:
    calls = Calls()

    def play() -> None:
        with calls.track("/S/M"):
            assert calls.summary()["in_flight"] == {"/S/M": 1}
            if error:
                raise error

    if error:
        with pytest.raises(type(error)):
            play()
    else:
        play()
    expected: dict[str, dict[str, int]] = {name: {} for name in ("in_flight", "answered", "failed", "cancelled")} | {
        kind: {"/S/M": 1}
    }
    assert calls.summary() == expected
