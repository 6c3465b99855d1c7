from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crirm.cri.dump_rules import DEFAULT_RULES, DumpRules, DumpRulesError, Level, cumulate
from crirm.cri.methods import METHODS

OFF, COUNT, NAME, FULL = Level.OFF, Level.COUNT, Level.NAME, Level.FULL


@pytest.mark.parametrize(
    ("text", "method", "level"),
    [
        pytest.param("", "Version", OFF, id="no rules: off"),
        pytest.param("Version", "Version", FULL, id="the level begins as full"),
        pytest.param("Version", "Status", OFF, id="what nothing matches is off"),
        pytest.param("name:Version,Status", "Status", NAME, id="a level holds for the rules that follow"),
        pytest.param("name:Version,full:Status", "Status", FULL, id="until the next level"),
        pytest.param("short:*", "Anything", NAME, id="a star is every method"),
        pytest.param("full:.*", "Anything", FULL, id="an expression"),
        pytest.param("full:List", "ListImages", OFF, id="a name is the whole name"),
        pytest.param("full:List.*", "ListImages", FULL, id="an expression matches"),
        pytest.param("full:mage+", "ListImages", FULL, id="anywhere in the name"),
        pytest.param("full:.*,off:.*Image.*", "ListImages", OFF, id="the last match counts"),
        pytest.param("off:.*Image.*,full:*", "ListImages", FULL, id="a star is a match like others"),
        pytest.param("name:ListImages,full:.*", "ListImages", NAME, id="an exact name ends the search"),
        pytest.param("name:ListImages,full:ListImages", "ListImages", NAME, id="so the first exact name counts"),
        pytest.param("FULL:Version", "Version", FULL, id="levels in any case"),
        pytest.param(" name : Version , Status ", "Status", NAME, id="blanks do not matter"),
        pytest.param("name:,Version", "Version", NAME, id="a level alone sets the level"),
        pytest.param("full:(?:a|b)", "xb", FULL, id="only the first colon divides"),
        pytest.param("reset,full:.*", "Version", FULL, id="the seed's rules"),
        pytest.param("'reset,full:.*'", "Version", FULL, id="with the quotes of an unquoted shell variable"),
        pytest.param('"reset,full:.*"', "Version", FULL, id="or others"),
        pytest.param("full:.*,reset", "Version", OFF, id="reset forgets"),
        pytest.param("full:.*,off", "Version", OFF, id="off alone switches everything off"),
        pytest.param("disable,full:.*", "Version", OFF, id="disable too, wherever it stands"),
        pytest.param("off,full:.*,on", "Version", FULL, id="on switches on again"),
        pytest.param("disable,reset,full:.*", "Version", FULL, id="reset forgets that too"),
        pytest.param("count:.*", "Version", COUNT, id="counting"),
        pytest.param("long:Version", "Version", FULL, id="the older word for full"),
        pytest.param("verbose:Version", "Version", FULL, id="another word for full"),
        pytest.param("full:.*,suppress:Version", "Version", OFF, id="another word for off"),
    ],
)
def test_levels(text: str, method: str, level: Level) -> None:
    rules = DumpRules.parse(text)
    assert rules.level(method) is level
    assert rules.level(method) is level  # remembered


def test_debug_makes_dumps_debug_records() -> None:
    assert DumpRules.parse("debug,full:.*").as_debug
    assert not DumpRules.parse("full:.*").as_debug


def test_the_default_shows_the_names_of_what_changes_pods_and_containers() -> None:
    rules = DumpRules.parse(DEFAULT_RULES)
    shown = {name for _service, name in METHODS if rules.level(name) is not OFF}
    assert shown == {
        "CreateContainer", "RemoveContainer", "RemovePodSandbox", "RunPodSandbox", "StartContainer", "StopContainer",
        "StopPodSandbox", "UpdateContainerResources", "UpdatePodSandboxResources", "UpdateRuntimeConfig",
        "RuntimeConfig",  # has "Run" in its name
    }  # fmt: skip
    assert {rules.level(name) for name in shown} == {NAME}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "ful:.*", "cannot read 'ful:.*': 'ful' is not a level (did you mean full?); levels are count", id="level"
        ),
        pytest.param("Version,full:(", "'(' is not a usable regular expression: missing )", id="expression"),
        pytest.param("full:*List", "use .* for any text", id="a star with text is an expression, and none"),
    ],
)
def test_faults_name_the_rule_and_what_is_right(text: str, said: str) -> None:
    with pytest.raises(DumpRulesError) as fault:
        DumpRules.parse(text, where="--dump")
    assert str(fault.value).startswith("--dump: ")
    assert said in str(fault.value)


def test_texts_that_come_one_by_one_do_not_share_a_level() -> None:
    rules = DumpRules.parse(cumulate("off:.*", "Version", "name:Status", "reset", "Exec"))
    assert (rules.level("Version"), rules.level("Exec")) == (OFF, FULL)
    assert DumpRules.parse(cumulate("off:.*", "Version")).level("Version") is FULL


@settings(deadline=None)  # busy machines run tests too
@given(st.lists(st.text(max_size=8), max_size=5).map(",".join))
@example("'reset,full:.*'")
@example("full:(")
@example("full:[a-")
@example(",:,")
@example("\0:\ud800")
def test_any_text_is_read_or_refused_by_a_sentence(text: str) -> None:
    try:
        rules = DumpRules.parse(text)
    except DumpRulesError as error:
        assert str(error).startswith("dump rules: cannot read ")  # noqa: PT017  either way is right
    else:
        assert rules.level("Version") in Level


def test_made_up_methods_do_not_fill_the_memory() -> None:
    rules = DumpRules.parse("full:.*7")
    levels = [rules.level(f"Method{number}") for number in range(2000)]
    assert len(rules._levels) <= 1000
    assert levels[1987] is FULL


def test_rules_that_are_meant_to_take_long_do_not() -> None:
    rules = DumpRules.parse("full:(.+)+[0-9],name:(a|aa)+$")
    assert [rules.level(name) for name in ("a" * 40 + "!", "a" * 10_000, "x" * 10_000 + "7")] == [OFF, NAME, OFF]
