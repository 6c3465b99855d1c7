from __future__ import annotations

import pytest
import yaml

from crirm.cli.cri_resmgr_flags import FLAGS
from crirm.cli.cri_resmgr_reports import CONFIG, CONFIG_TEXT, config_help, flag_help, print_config
from crirm.cli.goflags import FlagError


def test_the_printed_configuration_is_yaml_in_the_originals_names() -> None:
    assert yaml.safe_load(print_config()) == CONFIG


def test_help_lists_every_flag() -> None:
    words = flag_help().split()
    assert {f"-{name}" for name in FLAGS} <= set(words)


def test_every_setting_is_explained() -> None:
    keys = {*CONFIG, *(f"{module}.{key}" for module, settings in CONFIG.items() for key in settings)}
    assert set(CONFIG_TEXT) == keys


def test_help_on_a_module_is_about_that_module() -> None:
    assert "Active" in config_help(["policy"])
    assert "File" not in config_help(["policy"])


def test_help_on_an_unknown_module_names_the_nearest() -> None:
    with pytest.raises(FlagError, match=r"loger: no such module \(did you mean logger\?\)"):
        config_help(["loger"])
