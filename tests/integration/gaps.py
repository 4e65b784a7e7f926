#!/usr/bin/python3
"""No gaps: caches of libquoral on overlapping prefixes equal the store, whatever fails.

Three members; programs that hold caches (gap_caches.c) and compare them with Range at their revision, at every progress
mark; load up to 10,000 changes per second (gap_load.c), compacted every second; and a relay through which all
publications go and which loses some of them, the last of revisions and of prefixes above all (gap_relay.c). Meanwhile
members are killed and started again, stopped and continued, the programs with the caches as well, and caches are made
to move to members that lag behind.

    gaps.py --server build/release/quorald --programs build/release [--seconds 22] [--caches 100] [--seed 1]

With --rule the caches are of a libquoral with a planted bug, which must be found: bugs/README.md.
"""

import collections
import json
import os
import random
import re
import shutil
import signal
import time

import grpc

import cluster
import relay
import support
from native_cluster import NativeCluster
from program import Program

PROBES = 5
RATE = 10000  # changes per second
PROGRESS_MS = 500
PEER_DELAY_S = 0.3  # of a member that lags: below the election timeout
POLL_S = 0.05
FAULTS = ("kill", "pause", "lag_by_pause", "lag_by_link", "stop_client")
# One machine has all of them: an election is to be the work of a fault.
TIMING = ["--heartbeat-interval=100", "--election-timeout=1000"]


class GapCluster(NativeCluster):
    """Members whose publications are had from a relay; the last one is also reached by the others through one."""

    def new_server(self, name):
        server = super().new_server(name)
        server.relayed, = support.free_ports(1)
        server.extra += ["--advertise-publish-urls=tcp://127.0.0.1:%d" % server.relayed,
                         "--native-progress-interval=%dms" % PROGRESS_MS]
        return server

    def server_class(self, name):
        return relay.RelayedServer if name == "m2" else support.Server

    def call(self, member, method, request, timeout=cluster.STEP_S):
        """Members come and go; what is asked here may be asked again, over a new connection."""
        end = time.monotonic() + timeout
        while True:
            try:
                return super().call(member, method, request, timeout)
            except grpc.RpcError as e:
                self.channels.pop(member.target).close()
                if time.monotonic() > end:
                    support.fail("%s: %s" % (member.label, e))
                time.sleep(POLL_S)

    def leader_beside(self, other):
        """A leader that is not this one. A transfer may fail, or somebody else be elected: then another try."""
        found = []

        def led_by_another():
            found[:] = [self.leader()]
            if found[0] is other:
                to = [m for m in self.members if m is not other][0]
                request = self.rpc.MoveLeaderRequest(targetID=self.id_of(to))
                try:
                    super(GapCluster, self).call(other, "Maintenance/MoveLeader", request)
                except grpc.RpcError:
                    pass
            return found[0] is not other

        self.wait("somebody else leads", led_by_another)
        return found[0]

    @property
    def routes(self):
        return ["tcp://127.0.0.1:%d=%s" % (m.relayed, m.publish) for m in self.members]


class World:
    """All processes of a run, and what happens to them."""

    def __init__(self, options, directory):
        self.options = options
        self.rng = random.Random(options.seed)
        self.faults = collections.Counter()
        self.cluster = GapCluster(options.server, directory, timing=TIMING)
        self.members = self.cluster.members
        self.peers = relay.Process(self.members[2:])
        self.programs = []
        self.probes = []

    def program(self, name, *arguments):
        path = os.path.join(self.options.programs, "tests/integration", name)
        self.programs.append(Program(path, *(str(a) for a in arguments)))
        return self.programs[-1]

    def start(self):
        options = self.options
        self.cluster.start().leader()
        self.relay = self.program("gap_relay", options.seed, *self.cluster.routes)
        self.relay.expect("^ready$")
        each = -(-options.caches // PROBES)
        for first in range(0, options.caches, each):
            self.probes.append(self.program(options.caches_program, self.cluster.native, first,
                                            min(each, options.caches - first)))
        self.load = self.program("gap_load", self.cluster.native, RATE, options.seed)
        self.relay.say("lose\n")
        self.relay.expect("^losing$")

    def stop(self):
        for program in self.programs:
            if program.process.poll() is None:
                program.process.kill()
        self.cluster.stop()
        self.peers.stop()

    # ---- what happens: generators that yield the seconds until they go on ----

    def kill(self):
        """One member, now and then all of them."""
        victims = self.members if self.rng.random() < 0.2 else [self.rng.choice(self.members)]
        for member in victims:
            member.kill()
        yield self.rng.uniform(0, 1.5)
        yield from self.start_again(victims)

    def start_again(self, victims):
        for member in victims:
            member.start(wait=False)
        yield 0.1
        for member in victims:
            member.wait_ready(30)

    def pause(self):
        member = self.rng.choice(self.members)
        member.process.send_signal(signal.SIGSTOP)
        yield self.rng.uniform(0.5, 3)
        member.process.send_signal(signal.SIGCONT)

    def lag_by_pause(self):
        """A member goes on after a pause, and another one's caches come to it before it has caught up."""
        late, left = self.rng.sample(self.members, 2)
        late.process.send_signal(signal.SIGSTOP)
        yield self.rng.uniform(1.5, 3)
        left.kill()
        late.process.send_signal(signal.SIGCONT)
        yield self.rng.uniform(1, 2)
        yield from self.start_again([left])

    def lag_by_link(self):
        """What a member is told by the others comes late, for a while, and one of these loses its caches."""
        leader = self.cluster.leader_beside(self.members[2])
        left = [m for m in self.members[:2] if m is not leader][0]
        self.peers.delay(PEER_DELAY_S)
        yield 1
        left.kill()
        yield from self.until_behind(4)
        yield from self.start_again([left])
        self.peers.delay(0)

    def until_behind(self, seconds):
        """Until somebody has subscribed to a member that was behind."""
        before = self.relay.read().count("behind\n")
        end = time.monotonic() + seconds
        while self.relay.read().count("behind\n") == before and time.monotonic() < end:
            yield POLL_S

    def members_fail(self):
        """Each kind in turn, in an order by chance."""
        kinds = [self.kill, self.pause, self.lag_by_pause, self.lag_by_link]
        while True:
            for kind in self.rng.sample(kinds, len(kinds)):
                yield from kind()
                self.faults[kind.__name__] += 1
                yield self.rng.uniform(0.3, 1.5)

    def clients_fail(self):
        while True:
            yield self.rng.uniform(0.2, 1)
            probe = self.rng.choice(self.probes)
            probe.signal(signal.SIGSTOP)
            yield self.rng.uniform(0.3, 5)
            probe.signal(signal.SIGCONT)
            self.faults["stop_client"] += 1

    def run(self, seconds):
        """Both at the same time, until each fault has happened once, at least."""
        begin = time.monotonic()
        stories = [[begin, story] for story in (self.members_fail(), self.clients_fail())]
        while time.monotonic() < begin + seconds or len(self.faults) < len(FAULTS):
            self.watch_probes()
            for entry in stories:
                if time.monotonic() >= entry[0]:
                    entry[0] = time.monotonic() + next(entry[1])
            time.sleep(POLL_S)

    def watch_probes(self):
        for probe in self.probes:
            if probe.process.poll() is not None:
                raise Different(probe.read())

    def heal(self):
        """Nothing is lost any more, everybody is there and runs."""
        for probe in self.probes:
            probe.signal(signal.SIGCONT)
        self.peers.delay(0)
        for member in self.members:
            if member.process is None:
                member.start()
            member.process.send_signal(signal.SIGCONT)
            member.wait_ready(30)
        self.relay.say("pass\n")
        self.relay.expect("^passing$")

    # ---- the end ----

    def settle(self):
        """All caches at the newest revision; returns what everybody has counted."""
        load = finish(self.load)
        leader = self.cluster.leader()
        answer = self.cluster.call(leader, "KV/Range", self.cluster.rpc.RangeRequest(key=b"x"))
        revision = self.cluster.rpc.RangeResponse.FromString(answer).header.revision
        for probe in self.probes:
            probe.say("settle %d\n" % revision)
        caches = collections.Counter()
        least = []
        for probe in self.probes:
            found = finish(probe)
            least.append(found.pop("least"))
            caches.update(found)
        caches["least"] = min(least)
        return load, caches, finish(self.relay)


class Different(Exception):
    """A cache has not held what it promises."""


def finish(program):
    """The object of its last line."""
    code = program.end(120)
    if code != 0:
        raise Different("%s ended with %d:\n%s" % (program.name, code, program.text))
    return json.loads(program.text.strip().splitlines()[-1])


# ---- the test ----

def check_enough(options, found):
    """It is worth nothing if nothing happened."""
    least = dict.fromkeys(FAULTS + ("any", "last_of_revision", "last_of_prefix", "marks", "silences", "met_behind",
                                    "repairs", "snapshots"), 1)
    least.update(changes=500 * options.seconds, compactions=options.seconds // 4, least=options.seconds // 4,
                 compared=options.caches * options.seconds // 2)
    missing = {name: (found[name], wanted) for name, wanted in least.items() if found[name] < wanted}
    if missing:
        support.fail("too little happened, (is, wanted): %s; %s" % (missing, dict(found)))


def report(options, found):
    found = dict(found, caches=options.caches)
    support.count("{caches} caches compared {compared} times with Range, each at least {least} times; {marks_seen} "
                  "marks; {late} too late: compacted; {changes} changes, up to {peak} per second, told {told} times: "
                  "no difference".format(**found))
    support.count("lost {any} events, {last_of_revision} last of a revision, {last_of_prefix} last of a prefix, "
                  "{marks} marks, {silences} silences; {repairs} holes repaired, {snapshots} snapshots, {unanswered} "
                  "questions without an answer".format(**found))
    support.count("killed {kill}, paused {pause}, late after a pause {lag_by_pause}, late by its link {lag_by_link}, "
                  "clients stopped {stop_client}; {connections} connections, {met_behind} to a member that was behind, "
                  "by up to {lag_ms} ms; {compactions} compactions".format(**found))


def hunt(options, world):
    """A planted bug: it has to show, as the difference that it makes."""
    begin = time.monotonic()
    try:
        world.start()
        world.run(options.seconds)
        world.heal()
        world.settle()
    except Different as e:
        match = re.search("^DIFFERENT: (.*(?:%s).*)$" % options.rule, str(e), re.M)
        if not match:
            raise
        support.count("%s is found after %.1f s: %s" % (
            os.path.basename(options.caches_program), time.monotonic() - begin, match.group(1)))
        return
    support.fail("the planted bug is not found")


def test(options, world):
    world.start()
    world.run(options.seconds)
    world.heal()
    load, caches, losses = world.settle()
    found = collections.Counter(world.faults)
    found.update(load)
    found.update(losses)
    found.update({"marks_seen": caches.pop("marks"), "told": caches.pop("changes")})
    found.update(caches)
    check_enough(options, found)
    report(options, found)


def main():
    parser = support.arguments(__doc__.split("\n\n")[0])
    parser.add_argument("--programs", required=True, help="the build directory")
    parser.add_argument("--seconds", type=int, default=22, help="of load")
    parser.add_argument("--caches", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--caches-program", help="instead of gap_caches: one with a planted bug")
    parser.add_argument("--rule", help="and the difference that it has to make")
    options = support.parse(parser)
    probes = os.path.join(options.programs, "tests/integration/gap_caches")
    options.caches_program = os.path.abspath(options.caches_program or probes)
    directory = support.scratch("gaps", in_memory=True)
    world = World(options, directory)
    try:
        (hunt if options.rule else test)(options, world)
    except Different as e:
        support.fail(str(e))
    finally:
        world.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print("ok")


if __name__ == "__main__":
    main()
