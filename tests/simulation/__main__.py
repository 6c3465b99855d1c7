"""Run the simulation: ``python -m tests.simulation --seeds 0-199``; ``nox -s simulate`` calls it."""

from __future__ import annotations

import os
import sys

if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets of strings is part of a run
    os.execve(
        sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
    )

from tests.simulation import clocks

clocks.install()  # before anything of crirm is imported

from tests.simulation.command import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
