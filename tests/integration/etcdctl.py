#!/usr/bin/python3
"""Every etcdctl command against the server under test: the same output as against the reference etcd.

    etcdctl.py --server build/release/quorald [--ctl build/release/quoralctl]

The reference's etcdctl and Debian's run the same script (ctl_script.py) against the reference etcd and the server, each
on a fresh store; exit codes, stdout and stderr are compared. With --ctl that tool runs the script too, against both
servers, and must print what the reference's etcdctl prints.
"""

import os
import shutil
import sys

import support
from ctl_script import Tool, compare, version_of


def run_on_fresh(ctls, binary, label):
    """{ctl: result}, each on an empty store of that server."""
    results = {}
    for ctl in ctls:
        directory = support.scratch("etcdctl", in_memory=True)
        server = support.Server(binary, directory + "/data", label=label).start()
        try:
            results[ctl] = Tool(ctl, server.target, not version_of_cached(ctl).startswith("3.4")).run_all()
            if not server.alive():
                support.fail("%s ended:\n%s" % (label, server.tail()))
        finally:
            server.stop()
            shutil.rmtree(directory)
    return results


VERSIONS = {}


def version_of_cached(ctl):
    if ctl not in VERSIONS:
        VERSIONS[ctl] = version_of(ctl)
    return VERSIONS[ctl]


# What quoralctl does not have yet; it says so.
NOT_OURS = {"alarm list"}


def known(results):
    return [r for r in results if r[0] not in NOT_OURS]


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--ctl", help="a client under test, e.g. quoralctl")
    options = support.parse(parser)
    version, etcd, etcdctl = support.reference()
    debian = "/usr/bin/etcdctl"
    if not os.access(debian, os.X_OK):
        support.fail("Debian's etcdctl is missing: apt-get install etcd-client")
    ctls = [etcdctl] + ([debian] if debian != etcdctl else [])
    own = [os.path.abspath(options.ctl)] if options.ctl else []
    for ctl in ctls:
        print("etcdctl %s: %s" % (version_of_cached(ctl), ctl))
    results = {}
    for label, binary in (("reference", etcd), ("server", options.server)):
        results[label] = run_on_fresh(ctls + own, binary, label)
    differences, steps = 0, 0
    for ctl in ctls:
        print("\n=== etcdctl %s: reference etcd %s and server" % (version_of_cached(ctl), version))
        differences += compare("reference", results["reference"][ctl], "server", results["server"][ctl])
        steps += len(results["server"][ctl])
    for ctl in own:
        for label in ("reference", "server"):
            print("\n=== %s and etcdctl %s, both against the %s" % (ctl, version_of_cached(etcdctl), label))
            differences += compare("etcdctl", known(results[label][etcdctl]), "ours", known(results[label][ctl]))
            steps += len(results[label][ctl])
    support.count("etcdctl: %d commands compared, %d differences" % (steps, differences))
    sys.exit(0 if differences == 0 else 1)


if __name__ == "__main__":
    main()
