#!/usr/bin/python3
"""quorald and the reference etcd in turn, on the same disk: a table of medians and ratios. See docs/BENCHMARKS.md.

One round runs every group of rows against quorald and then against etcd, each time with a fresh process and a fresh
directory; the next round starts with the other one. h2load loads one key, tests/bench/load the rest. A row's CPU is
what the server's process has used (user and system time of all its threads) per 100,000 requests: unlike requests per
second it does not depend on what the load generator leaves of the cores.
"""

import argparse
import fnmatch
import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
import bench_cluster  # noqa: E402  pylint: disable=wrong-import-position
import bench_fanout  # noqa: E402  pylint: disable=wrong-import-position
from bench_fanout import Broken  # noqa: E402  pylint: disable=wrong-import-position
import support  # noqa: E402  pylint: disable=wrong-import-position

TICKS = os.sysconf("SC_CLK_TCK")
SYSTEMS = ("quorald", "etcd")

# The goals, as ratios quorald to etcd: (row, measure) -> (comparison, ratio).
GOALS = {
    ("put one key @1", "rate"): (">=", 1.2),
    ("put one key @256", "rate"): (">=", 3.5),
    ("put one key @256", "cpu"): ("<=", 1 / 4),
    ("get one key @256", "rate"): (">=", 4.0),
    ("get one key @256", "cpu"): ("<=", 1 / 6),
    ("range 1000 keys", "rate"): (">=", 3.0),
    ("put 1M random @256", "rate"): (">=", 1.5),
    ("put 1M random @256", "cpu"): ("<=", 1 / 2),
    ("get 1M random @256", "rate"): (">=", 2.0),
    ("get 1M random @256", "cpu"): ("<=", 1 / 2),
    ("count_only of 1M", "rate"): (">=", 1.0),
    ("limit=1 of 1M", "rate"): (">=", 1.0),
    ("fan-out 1000 watchers", "cpu"): ("<=", 1 / 2),
    ("start after kill -9", "s"): ("<=", 1 / 3),
    ("memory idle", "VmRSS MiB"): ("<=", 1 / 3),
    ("memory with 1M values", "RssAnon MiB"): ("<=", 1 / 5),
    **bench_cluster.GOALS,
    **bench_fanout.GOALS,
}
UNITS = {"rate": "/s", "cpu": "CPU s/100k", "p50": "p50 ms", "p99": "p99 ms"}


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid):
    values = {}
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        for line in f:
            name, _, rest = line.partition(":")
            if name in ("VmRSS", "RssAnon"):
                values[name + " MiB"] = int(rest.split()[0]) / 1024
    return values


def varint(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def grpc_body(*fields):
    """One gRPC message with the given (number, bytes) fields."""
    message = b"".join(varint(number << 3 | 2) + varint(len(data)) + data for number, data in fields)
    return b"\0" + struct.pack(">I", len(message)) + message


class Bench:
    """One run: the options, and what each row gave."""

    def __init__(self, options):
        self.options = options
        self.results = {}  # row -> system -> measure -> [values]
        self.notes = []
        self.scratch = tempfile.mkdtemp(prefix="bench-", dir=options.dir)
        self.load = os.path.join(ROOT, "build", "release", "tests", "bench", "load")
        quorald = os.path.join(ROOT, "build", "release", "quorald")
        self.version, etcd, _ = support.reference()
        self.binaries = {"quorald": options.quorald or quorald, "etcd": etcd}
        self.bodies = {}
        for name, fields in (("Put", ((1, b"bench/one"), (2, os.urandom(options.value_bytes)))),
                             ("Range", ((1, b"bench/one"),))):
            self.bodies[name] = os.path.join(self.scratch, name)
            with open(self.bodies[name], "wb") as f:
                f.write(grpc_body(*fields))
        self.server = None
        self.pids = None  # whose CPU counts; None = the server's
        self.system = None

    # ---- servers ----

    def start(self, system, name, extra=()):
        self.system = system
        self.server = support.Server(self.binaries[system], os.path.join(self.scratch, system + "-" + name), extra)
        self.server.start()

    def drop(self):
        """Ends the server and removes its data."""
        if self.server is not None:
            self.server.stop()
            shutil.rmtree(self.server.data_dir, ignore_errors=True)
            self.server = None

    @property
    def pid(self):
        return self.server.process.pid

    def cpu_seconds(self):
        return sum(cpu_seconds(pid) for pid in self.pids or [self.pid])

    @staticmethod
    def memory_mib(pid):
        return memory_mib(pid)

    # ---- rows ----

    def wanted(self, *rows):
        patterns = ["*" + pattern + "*" for pattern in self.options.only.split(",")]
        return any(fnmatch.fnmatchcase(row, pattern) for row in rows for pattern in patterns)

    def record(self, row, **values):
        into = self.results.setdefault(row, {}).setdefault(self.system, {})
        for measure, value in values.items():
            into.setdefault(measure, []).append(value)
        text = "  ".join("%s %s" % (number(value), UNITS.get(measure, measure)) for measure, value in values.items())
        print("    %-8s %-24s %s" % (self.system, row, text), flush=True)

    def row(self, row, action):
        """Runs action() -> (requests, values) and adds the server's CPU time."""
        if not self.wanted(row):
            return
        before = self.cpu_seconds()
        try:
            requests, values = action()
        except Broken as error:
            self.broken(row, error)
            return
        used = self.cpu_seconds() - before
        values["cpu"] = used / requests * 100000
        self.record(row, **values)

    def broken(self, row, error):
        self.notes.append("%s, %s: %s" % (row, self.system, error))
        print("    %-8s %-24s BROKEN: %s" % (self.system, row, error), flush=True)

    def run_load(self, mode, *arguments, seconds=None):
        command = [self.load, "--mode", mode, "--endpoint", self.server.target,
                   "--seconds", "%g" % (seconds or self.options.seconds)] + [str(a) for a in arguments]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if ended.returncode != 0:
            raise Broken(ended.stderr.strip() or "load ended with %d" % ended.returncode)
        return json.loads(ended.stdout)

    def load_row(self, row, mode, *arguments):
        def action():
            got = self.run_load(mode, *arguments)
            return got["requests"], {"rate": got["per_second"], "p50": got["p50_us"] / 1e3, "p99": got["p99_us"] / 1e3}

        self.row(row, action)

    def h2load(self, method, inflight, seconds):
        """(requests answered, per second, mean milliseconds)"""
        # etcd allows any number of streams a connection; 16 by 16 spreads them over its goroutines as clients do.
        connections = {1: 1, 64: 8, 256: 16}[inflight]
        out = subprocess.run(
            ["h2load", "-D", "%d" % seconds, "-c", str(connections), "-m", str(inflight // connections),
             "-d", self.bodies[method], "-H", "content-type: application/grpc", "-H", "te: trailers",
             self.server.url + "/etcdserverpb.KV/" + method],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
        rate = re.search(r"finished in .*?, ([0-9.]+) req/s", out)
        counts = re.search(r"requests: .*, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", out)
        if not rate or not counts or int(counts[3]) + int(counts[4]) > 0 or int(counts[2]) == 0:
            raise Broken("h2load: " + out.strip()[-300:])
        mean = re.search(r"time for request: +\S+ +\S+ +([0-9.]+)(us|ms|s)", out)
        return int(counts[2]), float(rate[1]), float(mean[1]) * {"us": 1e-3, "ms": 1, "s": 1e3}[mean[2]]

    def put_rate(self, inflight, seconds):
        return self.h2load("Put", inflight, seconds)[1]

    def h2load_row(self, row, method, inflight):
        def action():
            requests, rate, mean_ms = self.h2load(method, inflight, self.options.seconds)
            return requests, {"rate": rate, "mean ms": mean_ms}

        self.row(row, action)

    # ---- groups ----

    def one_key(self):
        """Memory of a fresh server, then one key under h2load."""
        rows = ["%s one key @%d" % (what, n) for n in (1, 64, 256) for what in ("put", "get")]
        if not self.wanted("memory idle", *rows):
            return
        self.start(self.system, "one")
        if self.wanted("memory idle"):
            time.sleep(self.options.settle)
            self.record("memory idle", **memory_mib(self.pid))
        for inflight in (1, 64, 256):
            put = "put one key @%d" % inflight
            self.h2load_row(put, "Put", inflight)
            self.check_one_key(put)
            self.h2load_row("get one key @%d" % inflight, "Range", inflight)
        self.drop()

    def check_one_key(self, *puts):
        """h2load does not see gRPC's status: a put that failed would count. So the key must be there after those rows."""
        ended = subprocess.run([os.path.join(ROOT, "build", "release", "quoralctl"), "--endpoints",
                                self.server.target, "get", "bench/one", "-w", "json"],
                               stdout=subprocess.PIPE, text=True, check=False)
        if ended.returncode == 0 and "kvs" in json.loads(ended.stdout):
            return
        if self.wanted(*puts):
            raise SystemExit("%s: the key is not there after the puts" % self.system)
        # Only gets were asked for: they need something to get.
        subprocess.run(["h2load", "-n", "1", "-d", self.bodies["Put"], "-H", "content-type: application/grpc",
                        self.server.url + "/etcdserverpb.KV/Put"], stdout=subprocess.DEVNULL, check=True)

    def fan_out(self):
        rows = ("fan-out 1000 watchers", "fan-out at a fixed rate")
        if not self.wanted(*rows):
            return
        self.start(self.system, "watch")
        fan = ["--watchers", 1000, "--streams", 20, "--connections", 20]
        self.load_row(rows[0], "fanout", *fan, "--inflight", 16)
        self.load_row(rows[1], "fanout", *fan, "--inflight", 1000, "--rate", self.options.fan_out_rate)
        self.drop()

    def many_keys(self):
        keys = self.options.keys
        random_rows = ["%s 1M random @%d" % (what, n) for n in (1, 64, 256) for what in ("put", "get")]
        others = ("fill 1M", "memory with 1M values", "start after kill -9", "range 1000 keys", "count_only of 1M",
                  "limit=1 of 1M")
        if not self.wanted(*others, *random_rows):
            return
        self.start(self.system, "many")
        self.fill(keys)
        if self.wanted("start after kill -9"):
            self.restart()
        self.load_row("range 1000 keys", "range", "--keys", keys, "--inflight", 16, "--connections", 4)
        self.load_row("count_only of 1M", "count", "--keys", keys, "--inflight", 16, "--connections", 4)
        self.load_row("limit=1 of 1M", "limit", "--keys", keys, "--inflight", 16, "--connections", 4)
        for inflight in (1, 64, 256):
            where = ["--keys", keys, "--inflight", inflight, "--connections", {1: 1, 64: 8, 256: 16}[inflight]]
            self.load_row("get 1M random @%d" % inflight, "get", *where)
            self.load_row("put 1M random @%d" % inflight, "put", *where)
        self.drop()

    def fill(self, keys):
        before = cpu_seconds(self.pid)
        got = self.run_load("fill", "--keys", keys, "--value-bytes", self.options.value_bytes, "--order", "random",
                            "--inflight", 512, "--connections", 8, seconds=900)
        if self.wanted("fill 1M"):
            self.record("fill 1M", rate=got["per_second"], cpu=(cpu_seconds(self.pid) - before) / keys * 100000)
        if self.wanted("memory with 1M values"):
            time.sleep(self.options.settle)
            self.record("memory with 1M values", **memory_mib(self.pid))

    def restart(self):
        """From exec to the first linearizable read."""
        self.server.kill()
        begin = time.monotonic()
        self.server.start(wait=False)
        self.run_load("ready", seconds=300)
        seconds = time.monotonic() - begin
        got = self.run_load("count", "--keys", self.options.keys, "--requests", 1, "--inflight", 1)
        assert got["requests"] == 1  # and load has checked the count: nothing is lost
        self.record("start after kill -9", s=seconds, CPU_s=cpu_seconds(self.pid))

    def run(self):
        for number_of_round in range(self.options.rounds):
            order = SYSTEMS if number_of_round % 2 == 0 else SYSTEMS[::-1]
            groups = {"one_key": self.one_key, "fan_out": self.fan_out,
                      "many_subscribers": bench_fanout.FanOutRows(self).run, "many_keys": self.many_keys,
                      "three_members": bench_cluster.ClusterRows(self).run}
            for name, group in groups.items():
                for system in order:
                    if self.options.system in ("both", system):
                        print("  round %d, %s" % (number_of_round + 1, name), flush=True)
                        self.system = system
                        try:
                            group()
                        finally:
                            self.drop()
            self.save()

    # ---- the table ----

    def save(self):
        """After every round: what breaks a later one does not take the earlier ones along."""
        if self.options.json:
            with open(self.options.json, "w", encoding="utf-8") as f:
                json.dump({"reference": self.version, "options": vars(self.options), "results": self.results}, f,
                          indent=1)

    def table(self):
        lines = ["| | | quorald | etcd %s | ratio | goal |" % self.version, "|---|---|---:|---:|---:|---:|"]
        for row, systems in self.results.items():
            measures = list(dict.fromkeys(m for values in systems.values() for m in values))
            for measure in measures:
                medians = {s: statistics.median(v[measure]) for s, v in systems.items() if measure in v}
                cells = ["" if measure != measures[0] else row, UNITS.get(measure, measure).replace("_", " ")]
                cells += [number(medians.get(s)) for s in SYSTEMS] + self.judge(row, measure, medians)
                lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def judge(self, row, measure, medians):
        """The ratio and the goal of a line."""
        if len(medians) < 2 or medians["etcd"] == 0:
            return ["", ""]
        ratio = medians["quorald"] / medians["etcd"]
        if (row, measure) not in GOALS:
            return ["%.2f" % ratio, ""]
        comparison, wanted = GOALS[row, measure]
        reached = ratio >= wanted if comparison == ">=" else ratio <= wanted
        return ["%.2f" % ratio, "%s %.2f%s" % (comparison, wanted, "" if reached else " **missed**")]


def number(value):
    if value is None:
        return ""
    if value >= 1000:
        return "{:,.0f}".format(value)
    return "%.3g" % value


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, short rows, 100,000 keys: does all of it work?")
    parser.add_argument("--only", default="", metavar="PATTERN",
                        help="rows whose name contains this shell pattern, or one of several with commas between them")
    parser.add_argument("--system", choices=SYSTEMS + ("both",), default="both")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of each row (default 5)")
    parser.add_argument("--keys", type=int, help="default 1,000,000")
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--fan-out-rate", type=float, default=50, help="puts per second of the row at a fixed rate")
    parser.add_argument("--subscribers", type=int, help="of the rows that say 5000 (--quick: 1,000)")
    parser.add_argument("--settle", type=float, default=5, help="seconds of rest before memory is read")
    parser.add_argument("--quorald", metavar="FILE", help="another program than build/release/quorald")
    parser.add_argument("--dir", default=os.path.join(ROOT, "build"), help="where the data goes (default: build/)")
    parser.add_argument("--json", metavar="FILE", help="write all values of all rounds there, after each")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (2 if options.quick else 5)
    options.subscribers = options.subscribers or (1000 if options.quick else 5000)
    options.keys = options.keys or (100000 if options.quick else 1000000)
    return options


def main():
    options = parse()
    bench = Bench(options)
    try:
        bench.run()
    finally:
        bench.drop()
        shutil.rmtree(bench.scratch, ignore_errors=True)
    print("\n%d rounds, medians; %g s a row; rows of 1M have %s keys, of 5000 %s; %d bytes a value; %d cores\n" % (
        options.rounds, options.seconds, "{:,}".format(options.keys), "{:,}".format(options.subscribers),
        options.value_bytes, os.cpu_count()))
    print(bench.table())
    for note in bench.notes:
        print("BROKEN: " + note)
    return 1 if bench.notes else 0


if __name__ == "__main__":
    sys.exit(main())
