from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.model.qos import QoSClass, QoSClassError, qos_class

if TYPE_CHECKING:
    from collections.abc import Callable

UID = "12fdc709-933e-41d0-917f-cd84de9afa94"


def cgroupfs(root: list[str], middle: list[str]) -> str:
    return "/" + "/".join([*root, "kubepods", *middle, f"pod{UID}"])


def systemd(root: list[str], middle: list[str]) -> str:
    """Expand names as systemd does: every slice repeats the names of those above it."""
    names = [name.replace("-", "_") for name in [*root, "kubepods", *middle, f"pod{UID}"]]
    slices = ["-".join(names[: depth + 1]) + ".slice" for depth in range(len(names))]
    return "/" + "/".join(slices)


@pytest.mark.parametrize(
    ("middle", "qos"),
    [([], QoSClass.GUARANTEED), (["burstable"], QoSClass.BURSTABLE), (["besteffort"], QoSClass.BEST_EFFORT)],
)
@pytest.mark.parametrize("driver", [cgroupfs, systemd])
@pytest.mark.parametrize("root", [[], ["kubelet"], ["a", "b-c"], ["burstable"], ["kubepods"], ["podium"]], ids=str)
def test_every_driver_and_root(
    driver: Callable[[list[str], list[str]], str], root: list[str], middle: list[str], qos: QoSClass
) -> None:
    assert qos_class(driver(root, middle)) is qos


@pytest.mark.parametrize(
    ("cgroup_parent", "qos"),
    [
        pytest.param(f"kubepods/burstable/pod{UID}", QoSClass.BURSTABLE, id="without the leading slash"),
        pytest.param(f"/kubepods//besteffort/pod{UID}/", QoSClass.BEST_EFFORT, id="with needless slashes"),
        pytest.param("kubepods-burstable-podab_cd.slice", QoSClass.BURSTABLE, id="the last slice alone"),
        pytest.param("kubepods-podab_cd.slice", QoSClass.GUARANTEED, id="the last slice alone, guaranteed"),
        pytest.param("/kubepods/burstable", QoSClass.BURSTABLE, id="the class's own cgroup"),
        pytest.param(
            f"/kubepods/podx/0a1b/kubelet/kubepods/burstable/pod{UID}", QoSClass.BURSTABLE, id="a kubelet inside a pod"
        ),
        pytest.param("/kubepods/pod8d2c61e8f0c4a27cb7c5e9f6ad1b33b0", QoSClass.GUARANTEED, id="a static pod"),
    ],
)
def test_spellings(cgroup_parent: str, qos: QoSClass) -> None:
    assert qos_class(cgroup_parent) is qos


@pytest.mark.parametrize(
    "cgroup_parent",
    ["", "/", "/system.slice", "/kubepods", "/kubepods/other/podx", "/burstable/podx", "/crirm-test/podx"],
)
def test_a_path_that_tells_nothing_is_refused(cgroup_parent: str) -> None:
    with pytest.raises(
        QoSClassError, match="does not show the pod's QoS class; expected a path such as /kubepods/burstable"
    ):
        qos_class(cgroup_parent)


def test_classes_are_named_as_in_kubernetes() -> None:
    assert [qos.value for qos in QoSClass] == ["Guaranteed", "Burstable", "BestEffort"]
