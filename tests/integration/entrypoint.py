#!/usr/bin/python3
"""What of docker/ can be tested without an engine: the entry point, and that the image is built from all it needs.

    entrypoint.py

What the entry point adds to the command line and the environment of a container, and what it leaves alone: quorald is
a program here that prints how it was called.
"""

import os
import re
import subprocess
import sys
import tempfile

import support

ENTRYPOINT = os.path.join(support.ROOT, "docker", "entrypoint")
SHOW = """#!/bin/sh
echo "$(basename "$0")" "$@"
env | grep -E '^(QUORAL|ETCD)_' | sort
"""
DATA = "QUORAL_DATA_DIR=/var/lib/quoral"
LISTEN = "QUORAL_LISTEN_CLIENT_URLS=http://0.0.0.0:2379"
ADVERTISE = "QUORAL_ADVERTISE_CLIENT_URLS=http://%s:2379" % os.uname().nodename
PEER = "QUORAL_LISTEN_PEER_URLS=http://0.0.0.0:2380"
ALL = {DATA, LISTEN, ADVERTISE}

# (arguments, environment, the command that is run, variables that are added)
CASES = [
    ("", {}, "quorald", ALL),
    ("--name a", {}, "quorald --name a", ALL),
    ("quorald --name=a", {}, "quorald --name=a", ALL),
    ("etcd --name a", {}, "quorald --name a", ALL),
    ("/usr/local/bin/etcd -name a", {}, "quorald -name a", ALL),
    # What is said is not said again, however it is said.
    ("--data-dir /d", {}, "quorald --data-dir /d", ALL - {DATA}),
    ("-data-dir=/d", {}, "quorald -data-dir=/d", ALL - {DATA}),
    ("", {"ETCD_DATA_DIR": "/d"}, "quorald", ALL - {DATA}),
    ("", {"QUORAL_DATA_DIR": "/d"}, "quorald", ALL - {DATA}),
    ("", {"ETCD_DATA_DIR": ""}, "quorald", ALL),
    ("--data-dirs", {}, "quorald --data-dirs", ALL),
    ("", {"ETCD_ADVERTISE_CLIENT_URLS": "http://a:1"}, "quorald", {DATA, LISTEN}),
    # Who says where to listen says what to advertise; the server insists on it.
    ("--listen-client-urls http://0.0.0.0:1", {}, "quorald --listen-client-urls http://0.0.0.0:1", {DATA}),
    # Peers are only in a cluster.
    ("", {"ETCD_INITIAL_CLUSTER": "a=http://a:2380"}, "quorald", ALL | {PEER}),
    ("--initial-cluster=a=http://a:2380", {"QUORAL_LISTEN_PEER_URLS": "http://0.0.0.0:1"},
     "quorald --initial-cluster=a=http://a:2380", ALL),
    # With a configuration file, everything else is ignored: nothing is added.
    ("--config-file /c", {}, "quorald --config-file /c", set()),
    ("", {"ETCD_CONFIG_FILE": "/c"}, "quorald", set()),
    # Other programs are run as they are.
    ("quoralctl get a", {}, "quoralctl get a", set()),
    ("etcdctl get a", {"QUORAL_NAME": "n"}, "etcdctl get a", set()),
]


def check_packages():
    """./dev and the Dockerfile build the same programs. The image has no tests."""
    with open(os.path.join(support.ROOT, "dev"), encoding="utf-8") as f:
        needed = set(re.search(r"(?s)build_packages=\((.*?)\)", f.read()).group(1).split()) - {"libcmocka-dev", "patch"}
    with open(os.path.join(support.ROOT, "docker", "Dockerfile"), encoding="utf-8") as f:
        missing = needed - set(f.read().split())
    if missing:
        support.fail("docker/Dockerfile does not install %s" % sorted(missing))


def main():
    check_packages()
    with tempfile.TemporaryDirectory(prefix="quoral-entrypoint-") as directory:
        for name in ("quorald", "quoralctl", "etcdctl"):
            with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
                f.write(SHOW)
                os.fchmod(f.fileno(), 0o755)
        for arguments, environment, command, added in CASES:
            done = subprocess.run(["sh", ENTRYPOINT] + arguments.split(), check=False, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  env=dict(environment, PATH=directory + ":/usr/bin:/bin"))
            lines = done.stdout.splitlines()
            given = {"%s=%s" % pair for pair in environment.items()}
            if done.returncode != 0 or lines[:1] != [command] or set(lines[1:]) != given | added:
                support.fail("%r with %s gives %d and\n%s" % (arguments, environment, done.returncode, done.stdout))
    print("%d ways to start a container" % len(CASES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
