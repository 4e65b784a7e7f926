#!/usr/bin/python3
"""A cluster under load while its members, its network and its disks fail.

    cluster_faults.py --server build/release/quorald [--part kill --part partition …] [--rounds 1 --seed 1]

Through every fault run, on each member, a writer with unique values, a reader, and a watcher that goes on where it
was. After it: no acknowledged write is lost, everything fits one linear order (cluster_history.py), the watchers on all
members saw the same events without gap, HashKV and the member list are equal everywhere, and writes go through every
member.

The parts with a network or disks of their own need root (netns.py, power_cut.py); the others run on loopback.
"""

import os
import random
import shutil
import sys
import time

import fault_disks
import fault_members
import fault_network
import fault_processes
import support

GROUPS = {
    "processes": fault_processes.PARTS,
    "members": fault_members.PARTS,
    "disks": fault_disks.PARTS,
    "network": fault_network.PARTS,  # the last: it moves this process into a namespace
}
WHY_NOT = dict([(part, fault_network.why_not) for part in fault_network.PARTS.values()] +
               [(part, fault_disks.why_not) for part in fault_disks.PARTS.values()] +
               [(fault_disks.part_slow, fault_disks.why_not_slow)])
PARTS = {name: part for group in GROUPS.values() for name, part in group.items()}
BRIEF = {"brief": fault_processes.part_brief}  # only when asked for: `kill` has it all, too


def wanted(options):
    """{name: function} in the order of PARTS."""
    names = set()
    for name in options.part or GROUPS:
        names |= set(GROUPS.get(name, [name]))
    return {name: part for name, part in (PARTS | BRIEF).items() if name in names}


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--part", choices=list(GROUPS) + list(PARTS | BRIEF), action="append",
                        help="a part or a group of parts (default: all)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each fault")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--measure-only", action="store_true",
                        help="times are printed and may be any; for etcd and for builds with sanitizers")
    options = support.parse(parser)
    options.rng = random.Random(options.seed)
    parts = wanted(options)
    print("seed %d" % options.seed, flush=True)
    ran = 0
    for name, part in parts.items():
        reason = WHY_NOT.get(part, lambda: None)()
        if reason:
            support.count("cluster faults: %s: SKIPPED: %s" % (name, reason))
            continue
        begin = time.monotonic()
        directory = support.scratch("faults")
        part(options, directory)
        shutil.rmtree(directory)
        print("%s: %.0f s" % (name, time.monotonic() - begin), flush=True)
        ran += 1
    if not ran:
        support.skip("none of the parts can run here")
    sys.exit(0)


if __name__ == "__main__":
    main()
