from __future__ import annotations

import attrs
import pytest

from tests.vm.recipe import Recipe, digest, load_order

RECIPE = Recipe("bookworm", ("python3", "runc"), "#!/bin/sh", "def make(): ...")

MODULES_DEP = """\
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio_pci.ko.xz: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/char/virtio-rng.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
"""


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(attrs.evolve(RECIPE, suite="trixie"), id="another release"),
        pytest.param(attrs.evolve(RECIPE, packages=("python3",)), id="other packages"),
        pytest.param(attrs.evolve(RECIPE, first="#!/bin/sh -e"), id="another first program"),
        pytest.param(attrs.evolve(RECIPE, making="def make(): pass"), id="made in another way"),
    ],
)
def test_whatever_changes_gives_another_digest(changed: Recipe) -> None:
    assert changed.digest != RECIPE.digest


def test_equal_recipes_have_equal_digests() -> None:
    assert attrs.evolve(RECIPE).digest == RECIPE.digest


def test_a_digest_tells_where_one_part_ends() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def test_modules_come_after_what_they_need_and_once() -> None:
    assert [file.rpartition("/")[2] for file in load_order(MODULES_DEP, ("virtio_pci", "virtio_rng"))] == [
        "virtio_ring.ko",
        "virtio.ko",
        "virtio_pci.ko.xz",
        "virtio-rng.ko",
    ]


def test_a_module_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError, match="virtio_blk"):
        load_order(MODULES_DEP, ("virtio_blk",))
