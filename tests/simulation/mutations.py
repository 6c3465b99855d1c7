"""Mends taken out one at a time: the simulation has to find what each of them mends, within `MOST_SEEDS` seeds.

``nox -s mutations`` copies crirm, makes the edits of one mutation in the copy, and plays seeds there until its rule is
broken. A mend whose text is not there any more is told, since its mutation would prove nothing.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parents[2]
MOST_SEEDS: Final = 500
AT_START: Final = "not exclusive when its owner starts,starts on CPUs of another"
LOST: Final = "a lost call goes on,an answer is lost,calls never end"
UNKNOWN: Final = "starts, and crirm does not know it,running but unknown,runs without a grant,two owners"


@attrs.frozen
class Edit:
    """A text of a source file, and what stands there instead without the mend."""

    file: str
    mended: str
    undone: str


@attrs.frozen
class Mutation:
    """One mend taken out.

    Args:
        name: what is wrong without it.
        faults: families of ``generate.FAMILIES`` that are played.
        rules: of ``checks`` of which one has to be broken.
        edits: that take it out; none where it is not in yet.
    """

    name: str
    faults: str
    rules: str
    edits: tuple[Edit, ...] = ()


_OLDER_SANDBOXES: Final = """\
        others = [other.id for other in state.workload.pods.values() if other.uid == pod.uid and other.id != pod.id]
        decision = self._each(state, [key for other in others for key in members(state, other)], self._exit)
        pods = {**decision.state.workload.pods, pod.id: pod}
        return attrs.evolve(decision, state=with_workload(decision.state, pods=pods))
"""
MUTATIONS: Final = (
    Mutation(
        "a resync forgets what was made while it ran", "resets,slow lists", UNKNOWN,
        (
            Edit(
                "crirm/daemon/observation/resync.py",
                "tuple(details.containers), since.touched)",
                "tuple(details.containers))",
            ),
        ),
    ),
    Mutation(
        "a creation tried again loses its grant", "very late",
        f"{UNKNOWN},{AT_START},what the runtime was told is not what it has",
        (
            Edit(
                "crirm/admission/creation.py",
                "    before = asked_before(workload, container)",
                "    before = None",
            ),
            Edit(
                "crirm/policy/creation.py",
                "        and other.attempt < container.attempt\n        and other.state in UNSTARTED",
                "        and other.key != container.key\n        and other.state in UNSTARTED",
            ),
            Edit("crirm/policy/creation.py", "    if twin is not None and twin.key != key:", "    if False:"),
            Edit(
                "crirm/policy/creation.py",
                "    if creation in state.tries or container.id is not None:",
                "    if False:",
            ),
        ),
    ),
    Mutation(
        "an owner starts before others have left its CPUs", "resizes",
        AT_START,
        (
            Edit(
                "crirm/daemon/placement/clearing.py",
                "        if not self.effects.unsettled(key):",
                "        if True:",
            ),
            Edit(
                "crirm/daemon/placement/effects.py",
                "return by is not None and now_s < before.until_s",
                "return False",
            ),
        ),
    ),
    Mutation(
        "a second sandbox ends the containers of the first", "second sandboxes", UNKNOWN,
        (
            Edit(
                "crirm/policy/pipeline.py",
                "        return Decision(with_workload(state, pods={**state.workload.pods, pod.id: pod}))\n",
                _OLDER_SANDBOXES,
            ),
        ),
    ),
    Mutation(
        "a reply that cannot be read keeps its grant", "garbage", "a grant without a container",
        (Edit("crirm/daemon/placement/answers.py", "    note(NOTHING_KNOWN)", "    pass"),),
    ),
    Mutation(
        "crirm's own calls meet the limit of streams", "streams",
        "the runtime has something else,a grant without a container,an answer is lost,calls never end",
        (
            Edit(
                "crirm/rpc/client.py",
                "        call = OwnCall(message, timeout_s, keep)\n"
                "        self.start(call, path.encode())\n",
                "        call = OwnCall(message, timeout_s, keep)\n"
                "        call.start(self._connections[0], path.encode())\n",
            ),
        ),
    ),
    Mutation(
        "crirm takes events from the kubelet", "subscribers", "events are taken from others",
        (Edit("crirm/daemon/observation/event_habits.py", '"containerd": (2, 0)', '"containerd": (1, 0)'),),
    ),
    Mutation(
        "CPUs that go are not missed", "CPUs offline", "given what is not there",
        (
            Edit(
                "crirm/daemon/placement/machine.py",
                "        if not sight.shows_change(self.node.hardware.sight):",
                "        if True:",
            ),
        ),
    ),
    Mutation(
        "the rest of a frame is waited for without end", "half answers", f"{LOST},pods do not go away",
        (
            Edit(
                "crirm/rpc/rest_of_frames.py",
                "        if self._read_bytes == read_bytes and has_read:",
                "        if False:",
            ),
        ),
    ),
    Mutation(
        "a caller does not hear that the runtime has left it", "cuts", f"{LOST},pods do not go away",
        (
            Edit(
                "crirm/rpc/splice_state.py",
                "                self.cut(stream, Status.UNAVAILABLE, message, tell_runtime=False)",
                "                pass",
            ),
        ),
    ),
    Mutation(
        "the runtime hears of the end of calls that it never had", "very late", "HTTP/2 forbids it",
        (
            Edit(
                "crirm/rpc/caller_frames.py",
                "            self._kept_reset(stream)\n        return b\"\"\n",
                "            self._kept_reset(stream)\n        return None\n",
            ),
        ),
    ),
)  # fmt: skip


def made(mutation: Mutation, place: Path) -> None:
    """Copy crirm and the simulation to *place*, with *mutation* in them.

    Raises:
        LookupError: what it takes out is not there.
    """
    for name in ("crirm", "tests"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in mutation.edits:
        file = place / edit.file
        text = file.read_text()
        if text.count(edit.mended) != 1:
            raise LookupError(
                f"{mutation.name}: {edit.file} has this text {text.count(edit.mended)} times:\n{edit.mended}"
            )
        file.write_text(text.replace(edit.mended, edit.undone))


def found(mutation: Mutation, most_seeds: int = MOST_SEEDS) -> subprocess.CompletedProcess[str]:
    """Play seeds until what is wrong shows; returns what the simulation says: 1 where it did."""
    with tempfile.TemporaryDirectory(prefix="crirm-mutation-") as place:
        made(mutation, Path(place))
        return played(mutation, Path(place), most_seeds)


def played(mutation: Mutation, place: Path, most_seeds: int) -> subprocess.CompletedProcess[str]:
    """Play what *mutation* would show in, with the code of *place*."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", f"0-{most_seeds - 1}", "--no-shrink"]
    command += ["--faults", mutation.faults, "--rules", mutation.rules]
    return subprocess.run(command, cwd=place, text=True, capture_output=True, check=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Try every mutation, and return 1 where one was not found, or with ``--mended`` something was."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="those whose name has this in it")
    parser.add_argument("--mended", action="store_true", help="take nothing out, and find nothing")
    parser.add_argument("--most-seeds", type=int, default=MOST_SEEDS)
    options = parser.parse_args(argv)
    missed = 0
    for mutation in MUTATIONS:
        if options.only not in mutation.name:
            continue
        if options.mended:
            done = played(mutation, ROOT, options.most_seeds)
            missed += done.returncode
            sys.stdout.write(f"{mutation.name}: {done.stdout}{done.stderr}\n")
            continue
        done = found(mutation, options.most_seeds)
        first = next(iter(done.stdout.splitlines()), "")
        told = first if done.returncode == 1 and first.startswith("seed") else f"NOT FOUND {done.stdout}{done.stderr}"
        missed += told is not first
        sys.stdout.write(f"{mutation.name}: {told}\n")
        sys.stdout.flush()
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
