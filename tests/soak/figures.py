"""What a process takes, sample by sample, and whether that grows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB = 1 << 20
GROWTH = 0.05  # of resident memory over the second half; the allocator alone moves it by 1 or 2 %
STATE_BYTES = (
    32 * MIB
)  # 10,000 pods make 82,000 entries of the journal, some 20 MB; the log of writes beside it some more


@attrs.frozen
class Sample:
    """What there was at one moment.

    Args:
        done: how many calls or lives were over.
        rss_bytes: resident memory.
        descriptors: open ones.
        state_bytes: of all files in the state directory.
    """

    done: int
    rss_bytes: int
    descriptors: int
    state_bytes: int


def sample(pid: int, state: Path, done: int) -> Sample:
    """Look at process *pid* and its *state* directory."""
    process = Path(f"/proc/{pid}")
    (line,) = (line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS:"))
    descriptors = len(list((process / "fd").iterdir()))
    return Sample(done, int(line.split()[1]) << 10, descriptors, size_of(state))


def size_of(folder: Path) -> int:
    """Return the bytes of all files in *folder*; a file that goes meanwhile has none."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total


@attrs.frozen
class Trend:
    """How something went over the second half of a run.

    Args:
        first: at its beginning, on the line that fits best.
        last: at its end, likewise.
        slope: per 1000 calls or lives.
    """

    first: float
    last: float
    slope: float

    @property
    def growth(self) -> float:
        """By which part it has grown."""
        return (self.last - self.first) / self.first


def trend(points: Sequence[tuple[int, float]]) -> Trend:
    """Fit a line through the second half of *points*, pairs of what was done and what there was, by least squares."""
    half = [(x, y) for x, y in points if 2 * x >= points[-1][0]]
    mean_x, mean_y = (sum(values) / len(half) for values in zip(*half, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in half)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in half) / spread if spread else 0.0
    first, last = (mean_y + slope * (x - mean_x) for x in (half[0][0], half[-1][0]))
    return Trend(first, last, 1000 * slope)


def faults(samples: Sequence[Sample], *, long: bool) -> list[str]:
    """Return what is not as it should be, in sentences.

    Args:
        samples: of one kind of work, in order.
        long: whether there was enough of it that memory must have come to rest.
    """
    found = []
    memory = trend([(one.done, one.rss_bytes) for one in samples])
    if long and memory.growth > GROWTH:
        found.append(
            f"resident memory grew by {memory.growth:.1%} over the second half, "
            f"{memory.slope / 1024:.1f} KiB per 1000; {GROWTH:.0%} are allowed"
        )
    descriptors = [one.descriptors for one in samples]
    later = descriptors[len(descriptors) // 2 :]
    if later[-1] > max(descriptors[: len(descriptors) // 2] or later):
        found.append(f"descriptors grew: from {descriptors[0]} to {later[-1]}")
    if (most := max(one.state_bytes for one in samples)) > STATE_BYTES:
        found.append(f"the state directory grew to {most / MIB:.1f} MiB; {STATE_BYTES / MIB:.0f} are allowed")
    return found


def line(what: str, samples: Sequence[Sample]) -> str:
    """Return the figures of one kind of work, for people."""
    memory = trend([(one.done, one.rss_bytes) for one in samples])
    first, last = samples[0], samples[-1]
    return (
        f"{last.done} {what}: resident memory {first.rss_bytes / MIB:.1f} MiB at first, "
        f"{memory.first / MIB:.1f} at half, "
        f"{memory.last / MIB:.1f} at the end ({memory.growth:+.2%} over the second half, "
        f"{memory.slope / 1024:+.2f} KiB per 1000); descriptors {first.descriptors} to {last.descriptors}, "
        f"at most {max(one.descriptors for one in samples)}; state {last.state_bytes / MIB:.1f} MiB"
    )
