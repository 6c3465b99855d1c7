"""``crirm ARGS`` without root's rights, as ``python as_nobody.py crirm ARGS``.

Gives the rights up once everything is imported: interpreter and checkout may lie where only root can read.
"""

from __future__ import annotations

import os
import sys

import crirm.cli.serve
import crirm.daemon.app
from crirm.cli.main import main

NOBODY = 65534

__all__ = ["crirm"]  # imported for what importing does

if __name__ == "__main__":
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    del sys.argv[0]
    main()
