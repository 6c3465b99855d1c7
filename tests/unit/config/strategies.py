"""Configurations as hypothesis makes them up."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from hypothesis import strategies as st

from crirm.config.config import Config
from crirm.config.cpus import AllCPUsBut, CgroupCPUs, CPUAmount, CPUs, ExactCPUs
from crirm.config.dump import DumpSection
from crirm.config.logger import LoggerSection
from crirm.config.policy import PolicySection, Resources
from crirm.config.schema import SECTIONS
from crirm.errors import CrirmError
from crirm.model.cpuset import CPUSet
from crirm.model.option import CHECK
from crirm.model.quantity import MilliCPU
from crirm.policy.registry import POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable

words = ["y", "no", "1e3", "010", "~", "", "<<", "12:30", "2001-01-01", ".inf", "- a", "a: b", "#", "'", '"', "\u2028"]
letters = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff", include_characters="\n\t")
texts = st.sampled_from(words) | st.text(letters, max_size=8)
lists_of_texts = st.lists(texts, max_size=2).map(tuple)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e30, 1e30)
lists = st.lists(scalars | texts, max_size=2)
values = scalars | texts | lists | st.dictionaries(texts, scalars | texts | lists, max_size=2)
cpus: st.SearchStrategy[CPUs] = (
    st.sets(st.integers(0, 200), min_size=1, max_size=4).map(lambda ids: ExactCPUs(CPUSet(ids)))
    | st.sets(st.integers(0, 200), min_size=1, max_size=4).map(lambda ids: AllCPUsBut(CPUSet(ids)))
    | st.integers(1, 10**6).map(lambda amount: CPUAmount(MilliCPU(amount)))
    | st.text("ab/:-", min_size=1).map(lambda text: CgroupCPUs(f"/{text}"))
)
later_names = [name for name, section in SECTIONS.items() if section.type is None]
plain_keys = texts.filter(lambda key: "." not in key and key != "page-migration")


def options_of(section: type) -> st.SearchStrategy[Any]:
    kinds: dict[type, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        str: texts,
        tuple: st.lists(texts, max_size=2).map(tuple),
        dict: st.dictionaries(texts, texts, max_size=2),
    }
    kinds_of = {field.name: type(getattr(section(), field.name)) for field in attrs.fields(section)}
    of_type = {name: options_of(kind) if attrs.has(kind) else kinds[kind] for name, kind in kinds_of.items()}
    checks = {field.name: field.metadata[CHECK] for field in attrs.fields(section) if field.metadata[CHECK]}
    checked = {name: _checked(check, getattr(section(), name), of_type[name]) for name, check in checks.items()}
    return st.builds(section, **{**of_type, **checked})


def _checked(check: Callable[[Any], object], default: Any, some: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return what an option may be whose texts are checked."""
    known = ("pod", "pack", "balanced", "0", "1", "12", "1500Mi")
    match default:
        case str():
            return st.sampled_from([default, *(word for word in (*words, *known) if passes(check, word))])
        case dict():
            pairs = [(name, value) for name in words for value in (*words, *known) if passes(check, {name: value})]
            return st.lists(st.sampled_from(pairs), max_size=2).map(dict)
        case _:
            return some.filter(partial(passes, check))


def passes(check: Callable[[Any], object], value: Any) -> bool:
    """Tell whether an option may have *value*; of a list, each item has to pass, of a mapping each pair."""
    items = value.items() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
    try:
        for item in items:
            check(item)
    except CrirmError:
        return False
    return True


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A configuration without faults."""
    active = draw(st.sampled_from(list(POLICIES)))
    reserved = cpus if POLICIES[active].needs_reserved else st.none() | cpus
    return Config(
        policy=PolicySection(active, Resources(draw(st.none() | cpus)), Resources(draw(reserved))),
        options={name: draw(options_of(one.options)) for name, one in POLICIES.items() if attrs.fields(one.options)},
        logger=LoggerSection(draw(texts), draw(st.booleans()), draw(st.dictionaries(texts, texts, max_size=2))),
        dump=draw(options_of(DumpSection)),
        later=draw(
            st.dictionaries(
                st.sampled_from(later_names), st.dictionaries(plain_keys, values, min_size=1, max_size=2), max_size=2
            )
        ),
    )
