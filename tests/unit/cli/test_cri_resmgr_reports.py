from __future__ import annotations

import pytest

from crirm.cli.cri_resmgr_flags import FLAGS
from crirm.cli.cri_resmgr_reports import config_help, flag_help, list_policies, print_config
from crirm.config.config import Config
from crirm.config.load import load
from crirm.errors import UsageError
from crirm.policy.registry import POLICIES


def test_the_printed_configuration_is_the_default_one() -> None:
    assert load(print_config().encode(), "printed").config == Config()


def test_help_lists_every_flag() -> None:
    words = flag_help().split()
    assert {f"-{name}" for name in FLAGS} <= set(words)


def test_every_policy_is_listed() -> None:
    assert set(POLICIES) <= {line.split()[0] for line in list_policies().splitlines() if line}


def test_help_on_a_module_is_about_that_module() -> None:
    assert "Active" in config_help(["policy"])
    assert "File" not in config_help(["policy"])


def test_help_on_an_unknown_module_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"loger: no such section \(did you mean logger\?\)"):
        config_help(["loger"])
