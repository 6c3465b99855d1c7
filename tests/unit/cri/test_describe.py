from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crirm.cri.describe import MAX_VALUE_BYTES, describe, text_of
from crirm.cri.proto.runtime import v1

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def shown(data: Any, message: str, *, show_secrets: bool = False) -> str:
    return "".join(f"{line}\n" for line in describe(bytes(data), message, show_secrets=show_secrets))


CREATE = (
    bytes(
        v1.CreateContainerRequest(
            pod_sandbox_id="p1",
            config=v1.ContainerConfig(
                metadata=v1.ContainerMetadata(name="web", attempt=2),
                image=v1.ImageSpec(image="docker.io/library/busybox:1.36"),
                command=["sh", "-c", "echo hello"],
                envs=[v1.KeyValue("HOME", b"/root"), v1.KeyValue("EMPTY", b"")],
                labels={"app": "web", "on": "on"},
                annotations={LAST_APPLIED: "{}"},
                tty=True,
                linux=v1.LinuxContainerConfig(
                    resources=v1.LinuxContainerResources(
                        cpu_shares=1024, oom_score_adj=-997, unified={"memory.high": "max"}
                    ),
                    security_context=v1.LinuxContainerSecurityContext(supplemental_groups=[0, 1, 300]),
                ),
                mounts=[
                    v1.Mount(container_path="/data", host_path="/srv", propagation=v1.MountPropagation(2)),
                    v1.Mount(),
                ],
                stop_signal=v1.Signal(23),
            ),
        )
    )
    + b"\x1a\x00"  # an empty sandbox_config
)

CREATE_SHOWN = """\
    pod_sandbox_id: p1
    config:
      metadata:
        name: web
        attempt: 2
      image:
        image: docker.io/library/busybox:1.36
      command:
      - sh
      - "-c"
      - "echo hello"
      envs:
      - key: HOME
        value: <masked, 5 bytes>
      - key: EMPTY
      mounts:
      - container_path: /data
        host_path: /srv
        propagation: PROPAGATION_BIDIRECTIONAL
      - {}
      labels:
        app: web
        "on": "on"
      annotations:
        kubectl.kubernetes.io/last-applied-configuration: <masked, 2 bytes>
      tty: true
      linux:
        resources:
          cpu_shares: 1024
          oom_score_adj: -997
          unified:
            memory.high: max
        security_context:
          supplemental_groups:
          - 0
          - 1
          - 300
      stop_signal: SIGTERM
    sandbox_config: {}
"""


def test_a_request_with_a_bit_of_everything() -> None:
    assert shown(CREATE, "CreateContainerRequest") == dedent(CREATE_SHOWN)


def test_secrets_are_shown_when_asked_for() -> None:
    expected = dedent(CREATE_SHOWN).replace("<masked, 5 bytes>", "/root").replace("<masked, 2 bytes>", '"{}"')
    assert shown(CREATE, "CreateContainerRequest", show_secrets=True) == expected


@pytest.mark.parametrize(
    ("message", "cls", "expected"),
    [
        pytest.param(v1.VersionRequest(), "VersionRequest", "{}", id="an empty message"),
        pytest.param(v1.StopContainerRequest("c", -1), "StopContainerRequest",
                     "container_id: c\ntimeout: -1", id="a number below 0"),
        pytest.param(v1.ExecSyncResponse(b"a\nb\t", b"\x00\xff", 1), "ExecSyncResponse",
                     'stdout: "a\\nb\\t"\nstderr: 0x00ff\nexit_code: 1', id="bytes as text where they are"),
        pytest.param(v1.PsiData(avg10=1.5), "PsiData", "avg10: 1.5", id="a real number"),
        pytest.param(b"\x08\x63", "PodSandboxStateValue", "state: 99 (no such name)", id="an enum value of the future"),
        pytest.param(b"\x0a\x02\xc3\x28", "StopPodSandboxRequest", "pod_sandbox_id: 0xc328 (not UTF-8)", id="no UTF-8"),
        pytest.param(b"\x08\x07", "StopPodSandboxRequest",
                     "pod_sandbox_id (not of type string), field 1 (varint): 7", id="another type on the wire"),
        pytest.param(b"\x0a\x01a\x0a\x01b", "StopPodSandboxRequest",
                     "pod_sandbox_id: a\npod_sandbox_id: b", id="a single field twice"),
        pytest.param(b"\x12\x01\x05\x10\x06\x12\x02\x07\x80", "PortForwardRequest",
                     "port:\n- 5\n- 6\n- 7\n- # malformed at byte 8: truncated varint; "
                     "the last 1 bytes are not shown", id="packed, single, and packed and broken"),
        pytest.param(b"\x12\x09\x0a\x01k\x12\x01v\x1a\x01x", "StatusResponse",
                     "info:\n  k: <masked, 1 bytes>\n    3 (1 bytes): x", id="a map entry with more in it"),
        pytest.param(b"\x12\x04\x0a\x01k\x12", "StatusResponse",
                     "info:\n  k: <masked, 0 bytes>\n    # malformed at byte 5: truncated varint; "
                     "the last 1 bytes are not shown", id="a map entry that breaks off"),
        pytest.param(b"\x12\x00", "StatusResponse", 'info:\n  "": <masked, 0 bytes>', id="an empty map entry"),
        pytest.param(b"\x12\x03\x0a\x01k\x12\x03\x0a\x01", "ListContainersResponse",
                     "2 (3 bytes): 0x0a016b\n# malformed at byte 5: field 2 declares 3 bytes, but 2 are left; "
                     "the last 4 bytes are not shown", id="the offset of what makes no sense"),
        pytest.param(b"\x0a\x05\x0a\x01c\x80\x01\x10\x01", "ListContainersResponse",
                     "containers:\n- id: c\n  # malformed at byte 5: truncated varint; "
                     "the last 2 bytes are not shown\n2 (varint): 1", id="also inside, and what follows is shown"),
    ],
)  # fmt: skip
def test_messages(message: Any, cls: str, expected: str) -> None:
    assert shown(message, cls) == f"{expected}\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"\xc8\x01\x05", "25 (varint): 5", id="a number"),
        pytest.param(b"\xca\x01\x02hi", "25 (2 bytes): hi", id="text"),
        pytest.param(b"\xca\x01\x02\x08\x01", "25 (2 bytes): 0x0801", id="a message within, as hex"),
        pytest.param(b"\xcd\x01\x01\x00\x00\x00", "25 (32 bits): 1", id="32 bits"),
        pytest.param(b"\xc9\x01\x01\x00\x00\x00\x00\x00\x00\x00", "25 (64 bits): 1", id="64 bits"),
    ],
)
def test_fields_of_the_future_stand_under_their_number(data: bytes, expected: str) -> None:
    assert shown(data, "StartContainerResponse") == shown(data, "NoSuchMessage") == f"{expected}\n"
    inside_a_config = b"\x12" + bytes([len(data) + 2]) + b"\x70\x01" + data
    assert shown(inside_a_config, "CreateContainerRequest") == f"config:\n  tty: true\n  {expected}\n"


def test_a_group_of_the_past_is_shown_field_by_field() -> None:
    group = b"\xcb\x01\x08\x01\xcc\x01"
    assert shown(group, "StartContainerResponse") == "25 (group starts)\n1 (varint): 1\n25 (group ends)\n"


AUTH = v1.PullImageRequest(
    image=v1.ImageSpec(image="busybox"),
    auth=v1.AuthConfig("me", "hunter2", "bWU6aHVudGVyMg==", "registry.example", "hunter3", "hunter4"),
)


def test_credentials_are_masked() -> None:
    assert shown(AUTH, "PullImageRequest") == dedent("""\
        image:
          image: busybox
        auth:
          username: me
          password: <masked, 7 bytes>
          auth: <masked, 16 bytes>
          server_address: registry.example
          identity_token: <masked, 7 bytes>
          registry_token: <masked, 7 bytes>
    """)


@pytest.mark.parametrize(
    ("data", "cls"),
    [
        pytest.param(b"\x0a\x01K\x12\x07hunter2", "KeyValue", id="an environment value"),
        pytest.param(b"\x3a\x07hunter2", "AuthConfig", id="a credential of the future"),
        pytest.param(b"\x12\x07hunter2", "AuthConfig", id="a password"),
        pytest.param(b"\x12\x07hunter2\x0a\x70hunter2", "AuthConfig", id="a message that breaks off"),
        pytest.param(b"\x12\x10\x0a\x05info\x00\x12\x07hunter2", "ContainerStatusResponse", id="verbose info"),
    ],
)
def test_no_secret_is_shown_however_it_comes(data: bytes, cls: str) -> None:
    assert "hunter2" not in shown(data, cls)
    assert b"hunter2".hex() not in shown(data, cls)
    revealed = shown(data, cls, show_secrets=True)
    assert "hunter2" in revealed or b"hunter2".hex() in revealed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"a" * 5000, f"{'a' * MAX_VALUE_BYTES} (the first 4096 of 5000 bytes)", id="text"),
        pytest.param(b"\xff" * 5000, f"0x{'ff' * MAX_VALUE_BYTES} (the first 4096 of 5000 bytes)", id="bytes"),
        pytest.param("é".encode() * 2500, f'"{"é" * 2048}" (the first 4096 of 5000 bytes)', id="other letters"),
        pytest.param(b"a" + "é".encode() * 2500, f'"a{"é" * 2047}" (the first 4096 of 5001 bytes)', id="half a letter"),
    ],
)
def test_long_values_are_cut_and_say_so(value: bytes, expected: str) -> None:
    assert shown(v1.ExecSyncResponse(stdout=value), "ExecSyncResponse") == f"stdout: {expected}\n"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "true",
        "No",
        "null",
        "12",
        "1.5",
        "-1",
        "0x1f",
        "1e5",
        "a b",
        "a:",
        "- a",
        "#",
        "a\nb",
        "[x]",
        "*",
        "é",
        "~",
        "+1",
    ],
)
def test_text_that_yaml_would_read_otherwise_is_quoted(value: str) -> None:
    assert text_of(value).startswith('"')


@pytest.mark.parametrize(
    "value", ["a", "nginx-1", "docker.io/library/busybox:1.36", "/run/x.sock", "sha256:0a", "12ab"]
)
def test_plain_text_is_not(value: str) -> None:
    assert text_of(value) == value


@settings(deadline=None)  # busy machines run tests too
@given(
    st.binary(max_size=200), st.sampled_from(["CreateContainerRequest", "ListContainersResponse", "StatusResponse", ""])
)
def test_any_bytes_are_described_in_printable_lines(data: bytes, message: str) -> None:
    lines = list(describe(data, message, show_secrets=True))
    assert lines
    assert all(line.isprintable() for line in lines)
