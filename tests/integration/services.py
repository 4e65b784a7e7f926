#!/usr/bin/python3
"""Services in the long run: whatever happens to leases, keys, clients or the whole cluster, every live service is registered
again within one TTL; and instances that drain are restarted, one after the other, under requests of which none fails.

    services.py --server build/release/quorald --programs build/release [--part again|drain]
                [--pause SECONDS] [--away SECONDS] [--rounds N]
"""

import json
import os
import random
import shutil
import signal
import sys
import time
import urllib.request

import grpc

import support
from native_cluster import NativeCluster
from program import WAIT_S, Program

# Elections are meant to happen; a busy machine must not call for them all the time.
TIMING = ["--heartbeat-interval=100", "--election-timeout=1000"]


class World:
    """A cluster, and programs that use it; all end with the test."""

    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.ctl = os.path.join(options.programs, "quoralctl")
        self.members = NativeCluster(options.server, directory, timing=TIMING)
        self.programs = []

    def __enter__(self):
        self.members.start().leader()
        return self

    def __exit__(self, *_):
        for program in self.programs:
            program.process.kill()
            program.process.wait()
        self.members.stop()

    def run(self, *command):
        self.programs.append(Program(*command))
        return self.programs[-1]

    def test_program(self, name):
        return os.path.join(self.options.programs, "tests/integration", name)

    def service(self, command, *arguments):
        return self.run(self.ctl, "service", command, "--native-endpoints=" + self.members.native, *arguments)

    def keys(self, prefix, timeout=WAIT_S):
        """The values below it, by the rest of the key, as any member that answers has them."""
        request = self.members.rpc.RangeRequest(key=prefix, range_end=prefix[:-1] + b"0")
        end = time.monotonic() + timeout
        while True:
            for member in self.members.members:
                try:
                    answer = self.members.call(member, "KV/Range", request, timeout=0.5)
                    return self.members.rpc.RangeResponse.FromString(answer).kvs
                except grpc.RpcError:
                    pass
            if time.monotonic() > end:
                support.fail("no member answers")
            time.sleep(0.01)


class View:
    """Who is there, as `quoralctl service watch` tells it."""

    def __init__(self, world, service):
        self.program = world.service("watch", service, "--announce")
        self.instances = {}
        self.read = 0

    def ready(self):
        lines = self.program.read()[self.read:]
        lines = lines[:lines.rfind("\n") + 1]
        self.read += len(lines)
        for words in (line.split() for line in lines.splitlines()):
            if words[0] in ("added", "changed"):
                self.instances[words[1]] = words[3]
            elif words[0] == "removed":
                del self.instances[words[1]]
        return {name for name, state in self.instances.items() if state == "ready"}

    def wait(self, names):
        NativeCluster.wait("the subscriber knows all instances: %s" % sorted(names ^ self.ready()),
                           lambda: self.ready() == names)


def is_healthy(member):
    try:
        with urllib.request.urlopen(member.url + "/health", timeout=0.2) as answer:
            return answer.status == 200
    except OSError:
        return False


# ---- registered again ----

TTL_S = 3
HOLDERS, EACH = 3, 12
PREFIX, SUBSCRIBERS = b"/services/again/", b"/subscribers/again/"


class Again:
    """Services of several kinds that hold out, and what is done to them."""

    def __init__(self, world):
        self.world, self.members = world, world.members
        self.before = self.copy_data("before")  # a backup in which nobody has registered
        self.names = set()
        self.holders = []
        for i in range(HOLDERS):
            self.names |= {"h%d-%d" % (i, j) for j in range(EACH)}
            self.holders.append(world.run(world.test_program("service_holder"), self.members.native, "again",
                                          "h%d" % i, str(EACH), str(TTL_S)))
        # Ends with its `service run`, also if that is killed.
        program = ("setpriv", "--pdeathsig", "KILL", "sleep", "1000000")
        self.runners = [self.runner("run", "run%d" % i, "--", *program) for i in range(2)]
        self.runners += [self.runner("register", "register%d" % i) for i in range(2)]
        self.view = View(world, "again")
        self.rng = random.Random(world.options.seed)
        self.slowest = {}
        self.back("at first", time.monotonic(), WAIT_S)

    def runner(self, command, name, *program):
        self.names.add(name)
        return self.world.service(command, "--name=again", "--addr=" + name, "--instance=" + name,
                                  "--ttl=%d" % TTL_S, *program)

    # ---- what is there ----

    def registered(self):
        found = set()
        for kv in self.world.keys(PREFIX):
            name = kv.key[len(PREFIX):].decode()
            if kv.lease and json.loads(kv.value) == {"address": name, "metadata": {}, "weight": 1, "state": "ready"}:
                found.add(name)
        return found

    def back(self, after, since, limit=TTL_S):
        """All must be registered this long after it was possible."""
        while True:
            missing = self.names - self.registered()
            took = time.monotonic() - since
            if took > limit:
                support.fail("%s: %d services are not back after %.1f s, among them %s" % (
                    after, len(missing), took, sorted(missing)[:5]))
            if not missing:
                break
            time.sleep(0.01)
        self.slowest[after] = took
        self.view.wait(self.names)

    # ---- what happens ----

    def copy_data(self, name):
        """The data of all members as they are when the cluster stops; it starts again."""
        copy = os.path.join(self.world.directory, name)
        self.kill()
        os.mkdir(copy)
        for member in self.members.members:
            shutil.copytree(member.data_dir, os.path.join(copy, member.label))
        self.serve()
        return copy

    def kill(self):
        for member in self.members.members:
            member.kill()

    def serve(self):
        """Starts all members; returns the moment from which on the cluster serves: a member answers a linearizable read."""
        for member in self.members.members:
            member.start(wait=False)
        NativeCluster.wait("the cluster serves", lambda: any(is_healthy(m) for m in self.members.members))
        return time.monotonic()

    def keys_by_hand(self):
        """Each key is deleted or written over by somebody."""
        for name in self.names:
            key = PREFIX + name.encode()
            if self.rng.random() < 0.5:
                self.members.call(self.members.members[0], "KV/DeleteRange", self.members.rpc.DeleteRangeRequest(key=key))
            else:
                self.members.call(self.members.members[0], "KV/Put", self.members.rpc.PutRequest(key=key, value=b"{}"))
        self.back("keys deleted and written over", time.monotonic())

    def leases_revoked(self):
        for lease in {kv.lease for kv in self.world.keys(PREFIX)}:
            self.members.call(self.members.members[0], "Lease/LeaseRevoke", self.members.rpc.LeaseRevokeRequest(ID=lease))
        self.back("leases revoked", time.monotonic())

    def clients_stopped(self):
        """For several TTLs, in which the cluster is restarted and all leases expire."""
        clients = self.holders + self.runners
        for client in clients:
            client.signal(signal.SIGSTOP)
        end = time.monotonic() + self.world.options.pause
        self.kill()
        self.serve()
        NativeCluster.wait("all leases have expired", lambda: not self.registered())
        self.view.wait(set())
        time.sleep(max(0, end - time.monotonic()))
        for client in clients:
            client.signal(signal.SIGCONT)
        self.back("clients stopped for %g s, cluster restarted" % self.world.options.pause, time.monotonic())

    def cluster_restarted(self):
        """Away for longer than a TTL; the leases live on, and so they must: nothing is registered anew."""
        before = {kv.key: kv.mod_revision for kv in self.world.keys(PREFIX)}
        self.kill()
        time.sleep(max(self.world.options.away, TTL_S + 1))
        self.back("cluster away for longer than a TTL", self.serve())
        time.sleep(TTL_S)  # what would have been lost meanwhile
        after = {kv.key: kv.mod_revision for kv in self.world.keys(PREFIX)}
        if after != before:
            support.fail("a restart of the cluster changed registrations: %s, then %s" % (before, after))

    def cluster_restored(self):
        """From a backup, in which there are neither keys nor leases."""
        self.kill()
        time.sleep(self.world.options.away)
        for member in self.members.members:
            shutil.rmtree(member.data_dir)
            shutil.copytree(os.path.join(self.before, member.label), member.data_dir)
        self.back("cluster restored from a backup", self.serve())

    def cluster_replaced(self):
        """By an empty one, with another id."""
        before = self.members.status(self.members.members[0]).header.cluster_id
        self.kill()
        time.sleep(self.world.options.away)
        for member in self.members.members:
            shutil.rmtree(member.data_dir)
            member.extra.append("--initial-cluster-token=another")
        self.back("cluster replaced by another", self.serve())
        if self.members.status(self.members.members[0]).header.cluster_id == before:
            support.fail("it is the same cluster: the test shows nothing")

    def end(self):
        """Every subscriber that announces itself is back as well; who ends in order leaves nothing behind."""
        NativeCluster.wait("the subscriber has announced itself again", lambda: len(self.world.keys(SUBSCRIBERS)) == 1)
        again = 0
        for holder in self.holders:
            equal(holder.end(), 0)
            again += int(holder.expect(r"^again (\d+)$").group(1))
        for runner in self.runners:
            runner.signal(signal.SIGTERM)
        for runner in self.runners:
            runner.wait()
        self.view.wait(set())
        self.view.program.signal(signal.SIGTERM)
        equal(self.view.program.wait(), 0)
        equal(list(self.world.keys(PREFIX)) + list(self.world.keys(SUBSCRIBERS)), [])
        return again


def test_again(options, directory):
    with World(options, directory) as world:
        again = Again(world)
        for _ in range(options.rounds):
            again.keys_by_hand()
            again.leases_revoked()
            again.clients_stopped()
        again.cluster_restarted()
        again.cluster_restored()
        again.cluster_replaced()
        times = again.end()
    if times < 4 * HOLDERS * EACH:
        support.fail("services were lost and registered again only %d times" % times)
    slowest = {what: took for what, took in again.slowest.items() if what != "at first"}
    support.count("%d services of %d processes, TTL %d s, all registered again after %s; the slowest took %.2f s" % (
        len(again.names), HOLDERS + len(again.runners), TTL_S,
        ", ".join("%s %.2f s" % item for item in slowest.items()), max(slowest.values())))


# ---- drained ----

INSTANCES, CLIENTS, THREADS = 20, 3, 4
LEAST = 20  # requests while one instance is restarted
SLOW = 5  # in each so many restarts one client is stopped, and does not hear of the drain before it goes on
STOPPED_S = 1


class Rolling:
    """Instances that are restarted under requests. Every other one is a program that knows nothing of services and has
    `quoralctl service run` around it."""

    def __init__(self, world):
        self.world = world
        self.worker = world.test_program("service_worker")
        self.ports = dict(zip(("i%d" % i for i in range(INSTANCES)), support.free_ports(INSTANCES)))
        self.workers = {}
        self.view = View(world, "rolling")
        for name in self.ports:
            self.start(name)
        self.view.wait(set(self.ports))
        self.clients = [world.run(world.test_program("service_client"), world.members.native, "rolling", str(THREADS))
                        for _ in range(CLIENTS)]
        NativeCluster.wait("the clients have announced themselves",
                           lambda: len(world.keys(b"/subscribers/rolling/")) == CLIENTS + 1)
        NativeCluster.wait("requests flow", lambda: self.counts()["answered"] > LEAST)

    def start(self, name):
        port = self.ports[name]
        program = [self.worker, name, str(port)]
        if int(name[1:]) % 2:
            self.workers[name] = self.world.run(*program, self.world.members.native, "rolling")
        else:
            self.workers[name] = self.world.service(
                "run", "--name=rolling", "--addr=127.0.0.1:%d" % port, "--instance=" + name, "--ttl=5", "--drain=60s",
                "--health=%s check %d" % (self.worker, port), "--health-interval=500ms", "--", *program)

    def counts(self):
        """Of all clients, so far."""
        sums = {}
        for client in self.clients:
            client.say("\n")
        for client in self.clients:
            for outcome, n in json.loads(client.expect("^{.*}$").group(0)).items():
                sums[outcome] = sums.get(outcome, 0) + n
        return sums

    def restart(self, name):
        """Returns how many seconds it took."""
        before = self.counts()["answered"]
        begin = time.monotonic()
        worker = self.workers[name]
        if int(name[1:]) % SLOW == 0:
            self.drain_unheard(worker, self.clients[int(name[1:]) // SLOW % CLIENTS])
        else:
            worker.signal(signal.SIGTERM)
        equal(worker.wait(), 0)
        if int(worker.expect(r"^answered (\d+)$").group(1)) == 0:
            support.fail("%s has not been asked anything" % name)
        NativeCluster.wait("%s is gone" % name, lambda: name not in self.view.ready())
        self.start(name)
        NativeCluster.wait("%s is back" % name, lambda: name in self.view.ready())
        took = time.monotonic() - begin
        NativeCluster.wait("requests go on", lambda: self.counts()["answered"] > before + LEAST)
        return took

    @staticmethod
    def drain_unheard(worker, client):
        """A client that is stopped may have chosen the instance just before: it must be waited for."""
        client.signal(signal.SIGSTOP)
        worker.signal(signal.SIGTERM)
        time.sleep(STOPPED_S)
        if worker.process.poll() is not None:
            support.fail("an instance has left before a subscriber that announced itself knew of it")
        client.signal(signal.SIGCONT)

    def without_drain(self, name):
        """The other way round: who is killed is chosen for as long as its lease lives, and that is counted."""
        before = self.counts()
        self.workers.pop(name).process.kill()
        NativeCluster.wait("requests to one that was killed fail", lambda: failed(self.counts()) > failed(before))
        NativeCluster.wait("the killed one is gone", lambda: name not in self.view.ready())
        return failed(self.counts()) - failed(before)

    def end(self):
        for client in self.clients:
            equal(client.end(), 0)
        for worker in self.workers.values():
            worker.signal(signal.SIGTERM)
        for worker in self.workers.values():
            equal(worker.wait(), 0)
        equal(list(self.world.keys(b"/services/rolling/")), [])


def failed(counts):
    return sum(counts.values()) - counts["answered"]


def test_drain(options, directory):
    with World(options, directory) as world:
        rolling = Rolling(world)
        restarts = []
        for _ in range(options.rounds):
            restarts += [rolling.restart(name) for name in rolling.ports]
        counts = rolling.counts()
        if failed(counts):
            support.fail("requests failed: %s" % counts)
        if counts["answered"] < 1000 * options.rounds:
            support.fail("too few requests: %s" % counts)
        control = rolling.without_drain("i1")
        rolling.end()
    support.count("rolling restart of %d instances, %d restarts of %.1f s at most, under requests of %d clients: %d answered, 0 "
                  "failed; without a drain, one kill: %d failed" % (
                      INSTANCES, len(restarts), max(restarts), CLIENTS * THREADS, counts["answered"], control))


def equal(got, expected):
    if got != expected:
        support.fail("got %r, expected %r" % (got, expected))


PARTS = {"again": test_again, "drain": test_drain}


def main():
    parser = support.arguments(__doc__.split("\n\n")[0])
    parser.add_argument("--programs", required=True, help="the build directory")
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--pause", type=float, default=3 * TTL_S, help="seconds for which clients are stopped")
    parser.add_argument("--away", type=float, default=2, help="seconds for which the whole cluster is away")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = support.parse(parser)
    for part in [options.part] if options.part else PARTS:
        directory = support.scratch("services", in_memory=True)
        try:
            PARTS[part](options, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    print("ok")


if __name__ == "__main__":
    sys.exit(main())
