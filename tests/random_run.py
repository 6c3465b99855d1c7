"""Generated tests with other examples each time, for a bounded time: ``python -m tests.random_run [--seconds N]``.

CI plays the same examples in every change, so that nobody's change fails for another's fault; what only other examples
find is looked for here. Each round has a seed. Where one fails, the seed is printed with the line that plays it again.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parents[1]
PROFILE: Final = "random"


def generated(root: Path = ROOT) -> list[str]:
    """Return the test files that have generated examples."""
    files = sorted((root / "tests" / "unit").rglob("test_*.py"))
    return [str(file.relative_to(root)) for file in files if "hypothesis" in file.read_text()]


def arguments(seed: int, tests: Sequence[str]) -> list[str]:
    """Return the command that plays *tests* with the examples of *seed*."""
    options = [f"--hypothesis-profile={PROFILE}", f"--hypothesis-seed={seed}", "-x", "-q", "-p", "no:cacheprovider"]
    return [sys.executable, "-m", "pytest", *options, *tests]


def play(seed: int, tests: Sequence[str], within_s: float | None) -> int | None:
    """Play one round and return pytest's exit code; None where time was up."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    try:
        done = subprocess.run(arguments(seed, tests), cwd=ROOT, env=environment, check=False, timeout=within_s)
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


def main(argv: Sequence[str] | None = None) -> int:
    """Play rounds until the time is up or one fails."""
    parser = argparse.ArgumentParser(prog="nox -s random --", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long, %(default).0f if not told otherwise")
    parser.add_argument("--seed", type=int, help="play this round alone, to its end")
    parser.add_argument("tests", nargs="*", help="all that have generated examples, if not told otherwise")
    given = parser.parse_args(argv)
    tests = given.tests or generated()
    if given.seed is not None:
        return play(given.seed, tests, None) or 0
    end_s, rounds = time.monotonic() + given.seconds, 0
    while (left_s := end_s - time.monotonic()) > 0:
        seed = secrets.randbelow(1 << 32)
        code = play(seed, tests, left_s)
        if code is None:
            break
        rounds += 1
        if code:
            again = " ".join(["nox -s random -- --seed", str(seed), *given.tests])
            print(f"seed {seed} has failed; to play it again: {again}")
            return code
    if not rounds:
        print(f"not one round was over after {given.seconds:.0f} s, so nothing is known; allow more with --seconds")
        return 1
    print(f"{rounds} whole rounds of {len(tests)} files, each with a seed of its own, and none has failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
