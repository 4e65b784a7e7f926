#!/usr/bin/python3
"""libquoral against a real cluster: clients that start; services that are registered, lost, drained; the example
programs. Its caches have gaps.py.

    libquoral.py --server build/release/quorald --programs build/release [--part starts|services|quoralctl|examples]
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import support
from native_cluster import NativeCluster
from program import WAIT_S, Program

PARTS = ("starts", "services", "quoralctl", "examples")
# Elections are meant to happen; a busy machine must not call for them all the time.
TIMING = ["--heartbeat-interval=100", "--election-timeout=1000"]
STARTS, STARTS_AT_A_TIME = 5, 20


# ---- services ----

def keys(members, prefix):
    request = members.rpc.RangeRequest(key=prefix.encode(), range_end=prefix.encode()[:-1] + b"0")
    answer = members.call(members.members[0], "KV/Range", request)
    return {kv.key.decode(): kv for kv in members.rpc.RangeResponse.FromString(answer).kvs}


def test_starts(options, directory):
    """Many at a time, so that what comes at once comes before the program knows the object that it is for."""
    members = NativeCluster(options.server, directory, size=1).start()
    discover = os.path.join(options.programs, "client/examples/example_discover")
    try:
        for _ in range(STARTS):
            programs = [Program(discover, members.native, "resize") for _ in range(STARTS_AT_A_TIME)]
            for program in programs:
                program.expect("^fresh at")
            for program in programs:
                equal(program.end(), 0)
    finally:
        members.stop()


def test_services(options, directory):
    members = NativeCluster(options.server, directory, timing=TIMING).start()
    examples = os.path.join(options.programs, "client/examples/example_")
    programs = []

    def run(name, *arguments):
        programs.append(Program(examples + name, members.native, *arguments))
        return programs[-1]

    try:
        members.leader()
        discover = run("discover", "resize")
        discover.expect("^fresh at")
        discover.say("\n")
        discover.expect("^chosen nobody")
        worker = run("worker", "resize", "tcp://w:1")
        name = worker.expect(r"^(\w+) registered").group(1)
        discover.expect("^added %s tcp://w:1 ready weight 1" % name)
        discover.say("\n")
        discover.expect("^chosen tcp://w:1")
        kv = keys(members, "/services/resize/")["/services/resize/" + name]
        equal(json.loads(kv.value), {"address": "tcp://w:1", "metadata": {}, "weight": 1, "state": "ready"})

        # The key is deleted, or its lease revoked, by hand: it comes back by itself, within one TTL of 10 s.
        members.call(members.members[1], "KV/DeleteRange", members.rpc.DeleteRangeRequest(key=kv.key))
        discover.expect("^removed " + name)
        discover.expect("^added " + name, 10)
        lease = keys(members, "/services/resize/")[kv.key.decode()].lease
        equal(lease, kv.lease)
        members.call(members.members[1], "Lease/LeaseRevoke", members.rpc.LeaseRevokeRequest(ID=lease))
        discover.expect("^removed " + name)
        discover.expect("^added " + name, 10)

        # It is paused for longer than its lease lives.
        worker.signal(signal.SIGSTOP)
        discover.expect("^removed " + name, 20)
        worker.signal(signal.SIGCONT)
        discover.expect("^added " + name, 10)

        # All members at once; what is known stays, marked as old.
        for member in members.members:
            member.kill()
        discover.expect("^stale at", 20)
        discover.say("\n")
        discover.expect("^chosen tcp://w:1")
        for member in members.members:
            member.start(wait=False)
        discover.expect("^fresh at", 30)

        # Draining: said first; the discovery announces itself, so nobody waits the window of five seconds.
        begin = time.monotonic()
        worker.signal(signal.SIGTERM)
        discover.expect("^changed %s tcp://w:1 draining" % name)
        discover.say("\n")
        since = discover.seen
        discover.expect("^removed " + name)
        discover.seen = since  # the two may come in any order
        discover.expect("^chosen nobody")
        if time.monotonic() - begin > 4:
            support.fail("a drain that all subscribers know of took %.1f s" % (time.monotonic() - begin))
        equal(worker.wait(), 0)
        worker.expect("^%s draining\n%s leaving\n%s gone" % (name, name, name))
        equal(discover.end(), 0)
        equal(keys(members, "/services/resize/"), {})
        equal(keys(members, "/subscribers/resize/"), {})

        # Without subscribers that are known the whole window is waited.
        worker = run("worker", "resize", "tcp://w:2")
        worker.expect("registered")
        begin = time.monotonic()
        worker.signal(signal.SIGTERM)
        equal(worker.wait(), 0)
        if not 4.9 < time.monotonic() - begin < 9:
            support.fail("a drain with a window of 5 s took %.1f s" % (time.monotonic() - begin))
        # Killed without a word: gone when the lease ends.
        discover = run("discover", "resize")
        worker = run("worker", "resize", "tcp://w:3")
        discover.expect("^added .* tcp://w:3")
        worker.process.kill()
        discover.expect("^removed .* tcp://w:3", 25)
        equal(discover.end(), 0)
    finally:
        for program in programs:
            program.process.kill()
        members.stop()


# ---- quoralctl service ----

# Says what it gets, and needs a moment for its end.
PROGRAM = "trap 'echo got TERM; sleep 0.2; exit 7' TERM; echo started; while :; do sleep 0.02; done"


def test_quoralctl(options, directory):
    members = NativeCluster(options.server, directory, size=1).start()
    ctl = os.path.join(options.programs, "quoralctl")
    endpoints = "--native-endpoints=" + members.native
    healthy = os.path.join(directory, "healthy")
    programs = []

    def run(*arguments):
        programs.append(Program(ctl, "service", *arguments))
        return programs[-1]

    def output(*arguments):
        return subprocess.run([ctl, "service", *arguments, endpoints], stdout=subprocess.PIPE, timeout=WAIT_S,
                              check=False).stdout.decode()

    try:
        equal(output("list"), "")
        watch = run("watch", "web", "--announce", endpoints)
        watch.expect("^fresh at")
        one = run("run", endpoints, "--name=web", "--addr=tcp://w:1", "--instance=one", "--metadata=zone=a",
                  "--health=test -e " + healthy, "--health-interval=100ms", "--drain=30s", "--", "sh", "-c", PROGRAM)
        one.expect("^started$")
        equal(output("list", "web"), "")  # not healthy yet
        with open(healthy, "w", encoding="utf-8"):
            pass
        watch.expect("^added one tcp://w:1 ready weight=1 zone=a$")
        equal(output("list"), "web\n")
        os.remove(healthy)
        watch.expect("^changed one tcp://w:1 unready")
        with open(healthy, "w", encoding="utf-8"):
            pass
        watch.expect("^changed one tcp://w:1 ready")
        equal(output("list", "web"), "one tcp://w:1 ready weight=1 zone=a\n")
        # The subscriber announces itself: the thirty seconds are not waited.
        one.signal(signal.SIGTERM)
        watch.expect("^changed one tcp://w:1 draining")
        watch.expect("^removed one")
        one.expect("^got TERM$", 10)
        equal(one.wait(10), 7)
        # An operator drains it; the program is told after that.
        two = run("run", endpoints, "--name=web", "--addr=tcp://w:2", "--instance=two", "--ttl=3", "--", "sh", "-c", PROGRAM)
        watch.expect("^added two tcp://w:2 ready")
        equal(output("drain", "web", "two"), "")
        watch.expect("^changed two tcp://w:2 draining")
        watch.expect("^removed two")
        two.expect("^got TERM$", 10)
        equal(two.wait(10), 7)
        # A program that ends by itself leaves; what is alive comes back; register is the same without a program.
        three = run("run", endpoints, "--name=web", "--addr=tcp://w:3", "--", "sh", "-c", "sleep 1; exit 3")
        watch.expect("^added .* tcp://w:3 ready")
        equal(three.wait(10), 3)
        watch.expect("^removed .* tcp://w:3")
        four = run("register", endpoints, "--name=web", "--addr=tcp://w:4", "--instance=four", "--ttl=3")
        watch.expect("^added four")
        equal(output("deregister", "web", "four"), "")
        watch.expect("^removed four")
        watch.expect("^added four", 10)
        four.signal(signal.SIGINT)
        watch.expect("^changed four tcp://w:4 draining")
        equal(four.wait(15), 0)
        watch.signal(signal.SIGINT)
        equal(watch.wait(), 0)
        equal(keys(members, "/services/") | keys(members, "/subscribers/"), {})
    finally:
        for program in programs:
            program.process.kill()
        members.stop()


def equal(got, expected):
    if got != expected:
        support.fail("got %r, expected %r" % (got, expected))


# ---- examples ----

def generate_messages(directory):
    """For client/examples/native.py, as it says itself."""
    subprocess.run(["protoc", "-I", support.MESSAGES, "--python_out=" + directory] + [
        os.path.join(support.MESSAGES, name) for name in ("native.proto", "etcd/kv.proto", "etcd/rpc.proto")], check=True)


def test_python(members, directory):
    source = os.path.join(support.ROOT, "client", "examples", "native.py")
    with open(source, encoding="utf-8") as lines:
        if len(lines.readlines()) >= 60:
            support.fail("the Python example has 60 lines or more")
    generate_messages(directory)
    member = members.members[0]

    def put(key, value):
        members.call(member, "KV/Put", members.rpc.PutRequest(key=key, value=value))

    put(b"py/a", b"1")
    program = Program(sys.executable, "-u", source, member.native, "py/", PYTHONPATH=directory)
    try:
        program.expect("^7 {b'py/a': b'1'}$")
        put(b"py/b", b"2")
        put(b"other", b"3")
        put(b"py/large", b"x" * 20000)  # too large to be published: it comes from the history
        program.expect("^8 {b'py/a': b'1', b'py/b': b'2'}\n(9 .*\n)?10 {b'py/a': b'1', b'py/b': b'2', b'py/large': b'x{20000}'}$")
        # Both changes of a transaction are shown at once.
        changes = [members.rpc.RequestOp(request_delete_range=members.rpc.DeleteRangeRequest(key=b"py/b")),
                   members.rpc.RequestOp(request_put=members.rpc.PutRequest(key=b"py/a", value=b"4"))]
        members.call(member, "KV/Txn", members.rpc.TxnRequest(success=changes))
        program.expect("^11 {b'py/a': b'4', b'py/large': b'x{20000}'}$")
        # Idle for so long that its session would have ended, had it not answered: the next repair needs it.
        time.sleep(4)
        put(b"other", b"5")
        program.expect("^12 {b'py/a': b'4', b'py/large': b'x{20000}'}$")
        put(b"py/large", b"y" * 20000)
        program.expect("^13 {b'py/a': b'4', b'py/large': b'y{20000}'}$")
        if re.search("^11 {b'py/a': b'1'", program.text, re.M):
            support.fail("a part of a transaction was shown")
    finally:
        program.process.kill()


def test_examples(options, directory):
    members = NativeCluster(options.server, directory, size=1).start()
    examples = os.path.join(options.programs, "client/examples/example_")
    try:
        cache = Program(examples + "cache", members.native, "basics/")
        cache.expect("^fresh at revision 1$")
        basics = Program(examples + "basics", members.native)
        equal(basics.wait(), 0)
        cache.expect("^2 put basics/a 1\n3 put basics/b 2\n4 put basics/a changed\n5 put basics/here now\n"
                     "6 delete basics/a \n6 delete basics/b \n6 delete basics/here $")
        equal(cache.end(), 0)
        cache.expect("^at revision 6: 0 keys$")
        test_python(members, directory)
    finally:
        members.stop()


def main():
    parser = support.arguments(__doc__.split("\n\n")[0])
    parser.add_argument("--programs", required=True, help="the build directory")
    parser.add_argument("--part", choices=PARTS)
    options = support.parse(parser)
    for part in [options.part] if options.part else PARTS:
        directory = support.scratch("libquoral", in_memory=True)
        try:
            globals()["test_" + part](options, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    print("ok")


if __name__ == "__main__":
    main()
