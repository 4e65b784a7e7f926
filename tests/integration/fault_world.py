"""A cluster under load and under observation, for the parts of cluster_faults.py."""

import signal
import statistics
import time

import support
from cluster import Cluster
from cluster_history import Observer, Traffic
from cluster_load import Agreement, Member, leader_of, until
from load import Ledger

# etcd's defaults, and its users': recovery is measured in them.
ELECTION_S = 1.0
START_S = 60


class Servers(Cluster):
    """Members with etcd's timing, each a server that `make` gives."""

    def __init__(self, options, directory, size, make, extra):
        self.make = make
        super().__init__(options.server, directory, size=size, timing=list(extra))

    def new_server(self, name):
        return self.make(name) if self.make else super().new_server(name)


class World:
    """As a context: starts the cluster, and at the end checks that nobody ended by itself and stops it."""

    def __init__(self, options, directory, size=3, make=None, extra=()):
        self.options = options
        self.cluster = Servers(options, directory, size, make, extra)
        self.members = {}  # server -> Member
        self.observer = Observer()
        self.agreement = Agreement([])
        self.loads = 0

    def __enter__(self):
        try:
            self.cluster.start()
            for server in self.cluster.members:
                self.welcome(server)
        except BaseException:
            self.cluster.stop()
            raise
        return self

    def __exit__(self, kind, *_):
        self.observer.stop()
        try:
            if kind is None:
                self.end()
        finally:
            self.cluster.stop()
        for member in self.members.values():
            member.close()
        if kind is not None:
            for server in self.cluster.members:
                print("---- %s:\n%s" % (server.label, server.tail(8)), flush=True)

    # ---- who is there ----

    def end(self):
        """SIGTERM for all: who has lost memory or seen a race says so by its exit code."""
        for server in self.members:
            code, _ = server.terminate()
            if code != 0:
                support.fail("%s ended with %d after SIGTERM:\n%s" % (server.label, code, server.tail()))

    def welcome(self, server, joined=False):
        """The server is a member from now on, and got everything so far from the others if it joined."""
        member = Member(server.label, server.client_port, server.host)
        self.members[server] = member
        self.agreement.ledgers[member] = Ledger()
        if joined:
            self.agreement.forget(member)
        self.observer.watch(member)

    def farewell(self, server):
        member = self.members.pop(server)
        self.agreement.ledgers.pop(member)
        self.observer.leave(member)
        member.close()

    def servers(self, *without):
        return [s for s in self.members if s not in without]

    def of(self, servers):
        return [self.members[s] for s in servers]

    def leader(self, servers=None):
        """The server that leads, among these."""
        member = leader_of(self.of(servers or self.members))
        return next(s for s, m in self.members.items() if m is member)

    def follower(self):
        """One that does not lead."""
        return self.options.rng.choice(self.servers(self.leader()))

    def term(self, server):
        return self.members[server].status().raftTerm

    def lead(self, server):
        """Makes this one the leader."""
        member = self.members[server]
        rpc = self.cluster.rpc

        def leads():
            status = member.status()
            if status.leader == status.header.member_id:
                return True
            leader = self.members[self.leader()]
            leader.tries("Maintenance/MoveLeader", rpc.MoveLeaderRequest(targetID=status.header.member_id),
                         rpc.MoveLeaderResponse)
            return False

        until("%s leads" % server.label, leads)

    # ---- what is done to them ----

    def kill(self, *servers):
        """kill -9 of all of them at once; a process that has ended before was no kill."""
        for server in servers:
            server.process.send_signal(signal.SIGKILL)
        for server in servers:
            code = server.kill()
            if code != -signal.SIGKILL:
                support.fail("%s had ended with %d before it was killed:\n%s" % (server.label, code, server.tail()))

    def freeze(self, server):
        """SIGSTOP."""
        server.process.send_signal(signal.SIGSTOP)
        until("%s stands still" % server.label, lambda: process_state(server) == "T")

    def restart(self, *servers):
        for server in servers:
            server.start(wait=False)
        for server in servers:
            server.wait_ready(START_S)
        for server in servers:
            until("%s serves" % server.label, self.members[server].serves)

    def traffic(self, servers=None, probes=False):
        self.loads += 1
        return Traffic(self.of(servers or self.members), "L%d" % self.loads,
                       self.options.rng.randrange(2 ** 32), probes)

    def book(self, traffic):
        """What an ended load has written and read is part of the history from now on. A fault without a load shows
        nothing."""
        for member, writer in traffic.by_member.items():
            if not writer.acked:
                support.fail("no write through %s was acknowledged" % member.name)
        for reader in traffic.readers:
            if not any(r.linearizable for r in reader.reads):
                support.fail("nothing was read through %s" % reader.member.name)
        self.observer.add(traffic)

    def verify(self, traffic, *earlier):
        """Everything that must hold when the load has ended and nothing is broken any more."""
        for each in earlier:
            self.book(each)
            self.agreement.writers += each.writers
        for server in self.members:
            if not server.alive():
                support.fail("%s has ended:\n%s" % (server.label, server.tail()))
        self.book(traffic)
        self.agreement.check(traffic)
        self.observer.check(max(ledger.base for ledger in self.agreement.ledgers.values()))

    def report(self, title):
        support.count("cluster faults: %s; nothing acknowledged lost, all members equal: %s" % (
            title, self.observer.summary()))


def process_state(server):
    """As in /proc: R, S, D, T, …"""
    with open("/proc/%d/stat" % server.process.pid, encoding="ascii", errors="replace") as f:
        return f.read().rpartition(")")[2].split()[0]


def spread(times):
    return "median %.2f s (%.2f to %.2f)" % (statistics.median(times), min(times), max(times))


def pause(seconds):
    """Lets a fault last: not to wait for something, but so that what must not happen has time to."""
    time.sleep(seconds)
