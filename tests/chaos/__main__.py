"""`make chaos`: rounds of faults on both stores, then the report; exit code 1 where the books disagree."""

import argparse
import sys
import time


def main() -> int:
    """Read what is wanted, play, report."""
    # Workers import this module anew: what it needs is imported here.
    from tests.chaos.report import Progress, report
    from tests.chaos.rounds import Plan, play
    from tests.chaos.servers import running

    asked = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    asked.add_argument("--seed", type=int, default=None, help="what faults are drawn from; default: the time")
    asked.add_argument("--minutes", type=float, default=2.0, help="for each store; a round that has begun is finished")
    asked.add_argument("--rounds", type=int, default=None, help="for each store, however long they take")
    asked.add_argument("--store", choices=("sqlite", "postgresql", "both"), default="both")
    asked.add_argument("--only", type=int, default=None, help="play the n-th round alone")
    asked.add_argument("--log", action="store_true", help="print each fault as it was injected")
    wanted = asked.parse_args()
    seed = int(time.time()) if wanted.seed is None else wanted.seed
    wrong = False
    for kind in ("sqlite", "postgresql") if wanted.store == "both" else (wanted.store,):
        progress = Progress(seed, kind, log=wanted.log)
        ends = time.monotonic() + 60 * wanted.minutes
        with running(kind) as server:
            progress.left_out(server)
            number = wanted.only or 0
            while True:
                progress.played(number, play(Plan.draw(seed, number, kind), server))
                number += 1
                rounds_are_over = wanted.rounds is not None and number >= wanted.rounds
                time_is_over = wanted.rounds is None and time.monotonic() >= ends
                if wanted.only is not None or rounds_are_over or time_is_over:
                    break
        wrong |= report(progress)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
