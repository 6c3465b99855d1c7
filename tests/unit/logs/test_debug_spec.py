from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crirm.errors import CrirmError
from crirm.logs.debug_spec import STATES, parse_debug


@pytest.mark.parametrize(
    ("text", "states"),
    [
        pytest.param("", {}, id="nothing says nothing"),
        pytest.param("relay", {"relay": True}, id="a bare source is switched on"),
        pytest.param("relay,daemon", {"relay": True, "daemon": True}, id="commas separate"),
        pytest.param("off:relay,daemon", {"relay": False, "daemon": False}, id="a state holds for what follows"),
        pytest.param("off:a,on:b,c", {"a": False, "b": True, "c": True}, id="until the next state"),
        pytest.param("*", {"*": True}, id="a star is every source"),
        pytest.param("disable:all", {"*": False}, id="all is every source"),
        pytest.param("on:relay,off:relay", {"relay": False}, id="the last word counts"),
        pytest.param(" on : relay ,, daemon , ", {"relay": True, "daemon": True}, id="blanks and gaps do not matter"),
        pytest.param("FALSE:relay", {"relay": False}, id="states in any case"),
        pytest.param("cri/relay", {"cri/relay": True}, id="a source may have a slash"),
    ],
)
def test_debug_lists_are_read(text: str, states: dict[str, bool]) -> None:
    assert parse_debug(text, where="LOGGER_DEBUG") == states


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("onn:relay", "unknown state 'onn' (did you mean on?)", id="a misspelt state, with the nearest"),
        pytest.param("relay:on", "write the state first, on:relay", id="state and source swapped"),
        pytest.param("on:", "name a source after the colon, for example on:relay", id="a state without source"),
        pytest.param("on:a:b", "separate entries by commas", id="two colons"),
    ],
)
def test_faults_say_where_what_and_what_is_right(text: str, said: str) -> None:
    with pytest.raises(CrirmError) as fault:
        parse_debug(f"relay,{text}", where="LOGGER_DEBUG")
    assert str(fault.value).startswith(f"LOGGER_DEBUG: cannot read {text!r}: ")
    assert said in str(fault.value)


@settings(deadline=None)  # busy machines run tests too
@given(st.lists(st.tuples(st.sampled_from(sorted(STATES)), st.sampled_from(["relay", "daemon", "message"]))))
def test_every_source_gets_its_last_state(entries: list[tuple[str, str]]) -> None:
    text = ",".join(f"{state}:{source}" for state, source in entries)
    assert parse_debug(text, where="x") == {source: STATES[state] for state, source in entries}
