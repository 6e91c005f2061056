"""Become a command that ends when the process that started it does, however that ends: SIGTERM from the kernel (Linux).

    python loadtests/ends_with_parent.py PARENT COMMAND …

PARENT is the number of the process that starts it. A signal asked for before exec is kept by it; asking in a function
between fork and exec instead is not safe beside threads. Elsewhere the command is run as it is.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int, command: list[str]) -> None:
    """Replace this process by the command; it does not start for a parent that is gone."""
    if sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:
            return
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
