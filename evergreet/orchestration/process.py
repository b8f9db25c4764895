"""Run a module in a process that ends when its parent does: `python -m evergreet.orchestration.process MODULE …`.

A Prefect worker that is killed leaves its flow processes running, and they go on sending with nobody to
cancel them (FACTS: orphans). Started through this module, a process asks the kernel for SIGTERM at its
parent's death (Linux; elsewhere this does nothing), which a flow run reports as Crashed before it goes.
"""

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Ask for SIGTERM when the parent process dies; leave at once if it died before the kernel was asked."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)


def main() -> None:
    """Become the module named by the first argument."""
    if len(sys.argv) < 2:
        sys.exit("Name the module to run, e.g. python -m evergreet.orchestration.process prefect.engine")
    end_with_parent()
    # A shell that starts a job with `&` leaves SIGINT ignored, and Prefect's worker turns SIGTERM into SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
