"""What the kubelet says of a whole pod: kept once the runtime has taken note of it, also across a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crirm.cri.proto.runtime import v1
from tests.conformance.cri import NOT_FOUND, wait_until
from tests.integration.deciding import make_node

if TYPE_CHECKING:
    from tests.integration.support import Stage


def test_a_pods_resize_reaches_the_runtime_and_the_journal(stage: Stage) -> None:
    node = make_node(stage)
    node.start()
    config = v1.PodSandboxConfig(
        metadata=v1.PodSandboxMetadata(name="web", uid="u", namespace="shop"),
        linux=v1.LinuxPodSandboxConfig(cgroup_parent="/kubepods/podu"),
    )
    run = v1.RunPodSandboxRequest(config=config)
    pod = node.cri.call("RunPodSandbox", run, v1.RunPodSandboxResponse).pod_sandbox_id
    resources = v1.LinuxContainerResources(cpu_shares=2048, cpu_quota=200_000, cpu_period=100_000)
    overhead = v1.LinuxContainerResources(cpu_shares=102)
    update = v1.UpdatePodSandboxResourcesRequest(pod, overhead, resources)
    node.cri.call("UpdatePodSandboxResources", update, v1.UpdatePodSandboxResourcesResponse)
    unknown = v1.UpdatePodSandboxResourcesRequest("nobody", overhead, resources)
    assert node.cri.reply("UpdatePodSandboxResources", unknown).code == NOT_FOUND

    def resized() -> list[dict[str, Any]]:
        return [each for each in node.journal() if each["kind"] == "pod resized"]

    wait_until(lambda: bool(resized()))  # what nobody waits for is saved a little later
    (entry,) = resized()
    assert entry["pod"] == "shop/web"
    assert "cpu_shares 102" in entry["outcome"]
    assert "cpu_quota_us 200000" in entry["outcome"]
