#!/usr/bin/python3
"""kill -9 at random moments under load: what was acknowledged is there, no revision is used twice.

    crash_kill.py --server build/release/quorald [--rounds 200 --seed 1]

A kill counts only with at least 1,000 acknowledged writes since the last one. In a fifth of the rounds the restart
itself is killed as well, at a random moment of the recovery.
"""

import random
import shutil
import sys
import time

import support
from load import Ledger, Load

MINIMUM = 1000


def one_round(server, ledger, rng, number):
    """Load, kill, restart, check. Returns (acknowledged writes before the kill, kills during recovery)."""
    load = Load(server.client_port, "r%d" % number, rng.randrange(2 ** 32)).start()
    end = time.monotonic() + 30
    while load.acked() < MINIMUM:
        if time.monotonic() > end or not load.running():
            support.fail("round %d: only %d writes acknowledged (%s):\n%s" % (
                number, load.acked(), [w.error for w in load.writers], server.tail()))
        time.sleep(0.002)
    time.sleep(rng.random() * 0.15)
    before = load.acked()
    server.kill()
    load.join()
    recovery_kills = 0
    while rng.random() < 0.2:
        server.start(wait=False)
        time.sleep(rng.random() * 0.1)
        server.kill()
        recovery_kills += 1
    server.start()
    ledger.check(server.target, load)
    return before, recovery_kills


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--snapshot-count", type=int, default=5000,
                        help="entries between two flushes of the store, so that many kills fall into one")
    options = support.parse(parser)
    print("seed %d" % options.seed)
    rng = random.Random(options.seed)
    directory = support.scratch("kill")
    server = support.Server(options.server, directory + "/data",
                            extra=["--snapshot-count=%d" % options.snapshot_count])
    ledger = Ledger()
    kills, extra, fewest = 0, 0, None
    begin = time.monotonic()
    try:
        server.start()
        for number in range(options.rounds):
            before, recovery_kills = one_round(server, ledger, rng, number)
            kills += 1
            extra += recovery_kills
            fewest = before if fewest is None else min(fewest, before)
            if number % 10 == 9:
                ledger.tidy(server.target)
            if number % 50 == 49:
                print("%d kills, %d acknowledged writes, %.0f s" % (kills, ledger.checked, time.monotonic() - begin),
                      flush=True)
    finally:
        server.stop()
    shutil.rmtree(directory)
    support.count("kill -9: %d under load (each after at least %d acknowledged writes), %d more during recovery: all %d "
          "acknowledged writes there, %d unanswered ones found whole, no revision twice; %.0f s" % (
              kills, fewest or 0, extra, ledger.checked, ledger.unknown, time.monotonic() - begin))
    sys.exit(0 if kills == options.rounds and (fewest or 0) >= MINIMUM else 1)


if __name__ == "__main__":
    main()
