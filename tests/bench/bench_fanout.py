"""The rows of ./dev bench with thousands of receivers of one key: ZeroMQ subscribers of quorald beside as many gRPC
watches, on it and on the reference etcd.

A receiver is a client of its own, with its own connection; so are etcd's, unless the row says otherwise. Memory and CPU
are the server's, taken while the receivers stand: opening and closing connections does not count.
"""

import json
import statistics
import subprocess
import time

import support

NAME = "5000 subscribers: "
WATCHES = "5000 watches: "
SHARED = "5000 watches on 20 connections: "
MEMORY, FAST, RATED, THROTTLED = ("memory of each", "as fast as they follow", "at a fixed rate", "beside 50 throttled")

GOALS = {
    (NAME + MEMORY, "idle KiB"): ("<=", 1 / 10),
    (NAME + MEMORY, "afterwards KiB"): ("<=", 1 / 10),
    (NAME + FAST, "cpu"): ("<=", 1 / 5),
}

INFLIGHT = 8         # puts whose events are on the way: with more, etcd's time out on a busy machine
PUTS_PER_S = 2       # of the row at a fixed rate: more, and etcd does not follow
THROTTLED_COUNT = 50
THROTTLED_TURNS = 3
THROTTLED_VALUE_BYTES = 4096  # of the puts beside them: enough to fill what the kernel holds for each


class Broken(Exception):
    """A row that could not be measured; the bench says so and goes on."""


class Receivers:
    """load --mode fanout --pause: they stand when this is made, and until end()."""

    def __init__(self, load, target, arguments):
        command = [load, "--mode", "fanout", "--endpoint", target, "--pause"] + [str(a) for a in arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        self.expect("standing\n")

    def expect(self, wanted=None):
        line = self.process.stdout.readline()
        if not line or wanted not in (None, line):
            self.process.kill()
            raise Broken(self.process.communicate()[1].strip() or "load has ended")
        return line

    def measure(self):
        """Puts, and events of them; the result when all have come."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.expect())

    def end(self):
        _, errors = self.process.communicate()
        if self.process.returncode != 0:
            raise Broken(errors.strip() or "load ended with %d" % self.process.returncode)


class FanOutRows:
    """The group of rows; `bench` is bench.Bench, whose recording it uses."""

    def __init__(self, bench):
        self.bench = bench
        self.count = bench.options.subscribers
        self.publish = None  # where quorald publishes
        self.names = []  # what the rows begin with that are being measured

    def run(self):
        kinds = {"quorald": ((self.subscribers, [NAME]), (self.watches, [WATCHES]), (self.shared, [SHARED])),
                 "etcd": ((self.watches, [NAME, WATCHES]), (self.shared, [SHARED]))}
        for kind, self.names in kinds[self.bench.system]:
            if any(self.wanted(row) for row in (MEMORY, FAST, RATED, THROTTLED)):
                self.start()
                self.rows(kind())
                self.bench.drop()

    def start(self):
        extra = []
        if self.bench.system == "quorald":
            port, = support.free_ports(1)
            self.publish = "127.0.0.1:%d" % port
            extra = ["--listen-publish-urls=tcp://" + self.publish]
        self.bench.start(self.bench.system, "fan-out", extra)

    # ---- who receives ----

    def subscribers(self):
        return ["--watchers", self.count, "--subscribe", self.publish]

    def watches(self):
        return ["--watchers", self.count, "--streams", self.count, "--connections", self.count]

    def shared(self):
        return ["--watchers", self.count, "--streams", 20, "--connections", 20]

    # ---- rows ----

    def wanted(self, row):
        """Rows at a rate and throttled ones are of those with a connection each."""
        return any(self.bench.wanted(name + row) for name in self.names
                   if row in (MEMORY, FAST) or name == NAME)

    def record(self, row, **values):
        for name in self.names:
            if row in (MEMORY, FAST) or name == NAME:
                self.bench.record(name + row, **values)

    def rows(self, receivers):
        for wanted, action in (((MEMORY, FAST), self.fast), ((RATED,), self.rated), ((THROTTLED,), self.throttled)):
            if any(self.wanted(row) for row in wanted):
                try:
                    action(receivers)
                except Broken as error:
                    self.bench.broken(self.names[0] + wanted[-1], error)

    def run_receivers(self, receivers, *more, before=None):
        """(what load says, CPU seconds per 100,000 events); before() is called when they stand."""
        bench = self.bench
        standing = Receivers(bench.load, bench.server.target, receivers + list(more))
        try:
            if before:
                before()
            used = bench.cpu_seconds()
            got = standing.measure()
            return got, (bench.cpu_seconds() - used) / got["requests"] * 100000
        finally:
            self.afterwards = bench.memory_mib(bench.pid)
            standing.end()

    def each_kib(self, base):
        """Memory of one receiver above the server's without any."""
        now = self.bench.memory_mib(self.bench.pid)
        return (now["RssAnon MiB"] - base["RssAnon MiB"]) * 1024 / self.count

    def fast(self, receivers):
        bench = self.bench
        idle = []
        bench.run_load("put", "--requests", 200, seconds=10)  # what the first request brings does not count
        time.sleep(bench.options.settle)
        base = bench.memory_mib(bench.pid)

        def stand():
            time.sleep(bench.options.settle)
            idle.append(self.each_kib(base))

        got, cpu = self.run_receivers(receivers, "--inflight", INFLIGHT, "--seconds", bench.options.seconds, before=stand)
        after = (self.afterwards["RssAnon MiB"] - base["RssAnon MiB"]) * 1024 / self.count
        if self.wanted(MEMORY):
            self.record(MEMORY, **{"idle KiB": idle[0], "afterwards KiB": after})
        if self.wanted(FAST):
            self.record(FAST, rate=got["per_second"], p50=got["p50_us"] / 1e3, p99=got["p99_us"] / 1e3, cpu=cpu)

    def rated(self, receivers):
        rate = ["--rate", PUTS_PER_S, "--seconds", 4 * self.bench.options.seconds]
        alone = self.bench.run_load("put", "--inflight", 16, "--connections", 1, *rate[:2], seconds=rate[3])
        got, cpu = self.run_receivers(receivers, *rate)
        self.record(RATED, rate=got["per_second"], p50=got["p50_us"] / 1e3, p99=got["p99_us"] / 1e3, cpu=cpu,
                    **{"put p50 ms": got["put_p50_us"] / 1e3, "put p50 ms alone": alone["p50_us"] / 1e3})

    def throttled(self, receivers):
        """Without and beside them in turn, so that both have the same machine."""
        load = ["--inflight", 4, "--seconds", self.bench.options.seconds / 2, "--value-bytes", THROTTLED_VALUE_BYTES]
        without, beside = [], []
        for _ in range(THROTTLED_TURNS):
            without.append(self.run_receivers(receivers, *load)[0])
            beside.append(self.run_receivers(receivers, *load, "--throttled", THROTTLED_COUNT)[0])

        def median(runs, name):
            return statistics.median(run[name] for run in runs)

        self.record(THROTTLED, **{name + " of that without": median(beside, key) / median(without, key)
                                  for name, key in (("rate", "per_second"), ("p99", "p99_us"))},
                    rate=median(beside, "per_second"), p99=median(beside, "p99_us") / 1e3)
