#!/usr/bin/python3
"""The same random script against the reference etcd and the server under test; every answer is compared.

    differential.py --server build/release/quorald [--seed 1 --seeds 5 --ops 50000]

Ends with 0 only if there was no difference. A difference is printed with seed, operation number, request and both
answers; the same --seed with --seeds 1 and the same --ops/--seeds ratio repeats it.
"""

import random
import shutil
import sys
import time

import diff_members  # pylint: disable=unused-import  # adds its cases
import support
from diff_canon import rpc
from diff_cases import CASES, FRESH_CASES, PROGRESS_FLAG, Both
from diff_pair import SHORT_TTL, Answer, Diverged, Pair, error_answer
from diff_script import Script
from diff_watch import Recorder, WatchSession, hammer

EXPIRY_KEYS = [b"expiring/1", b"expiring/2", b"expiring/3"]


def keep_alive(pair, script):
    """Several ids in one stream; the answers come in order."""
    method = "etcdserverpb.Lease/LeaseKeepAlive"
    ids = [script.lease() for _ in range(script.rng.randint(1, 4))]
    requests = [rpc.LeaseKeepAliveRequest(ID=i) for i in ids]
    calls = (pair.a.stream(method)(iter([r.SerializeToString() for r in requests])),
             pair.b.stream(method)(iter([pair.for_b(r) for r in requests])))
    answers = []
    for call in calls:
        got = []
        try:
            got.extend(Answer("OK", "", data) for data in call)
        except Exception as e:  # pylint: disable=broad-except
            got.append(error_answer(e))
        answers.append(got)
    if len(answers[0]) != len(answers[1]):
        pair.differ("LeaseKeepAlive: number of answers", repr(ids), str(len(answers[0])), str(len(answers[1])))
    for request, a, b in zip(requests, *answers):
        pair.count("LeaseKeepAlive", a)
        pair.compare(method, request, a, b)


def grant_and_revoke_short(pair, script):
    """TTLs below the minimum are raised; such leases would end during the run, so they are revoked at once."""
    ttl = script.rng.choice([0, -1, 1, 2, 3, -2 ** 63])
    grant = rpc.LeaseGrantRequest(TTL=ttl, ID=500000 + script.rng.randrange(1000))
    end = time.monotonic() + SHORT_TTL
    pair.call("etcdserverpb.Lease/LeaseGrant", grant)
    pair.call_within(end, "etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=grant.ID))


def write(pair, script, session):
    if script.maybe(1):
        grant_and_revoke_short(pair, script)
        return
    method, request = script.write()
    if method.endswith("/Compact"):
        session.settle()
    sent = pair.send(method, request)
    answer, message = pair.receive(sent)
    if method.endswith("/LeaseGrant") and answer.ok and request.ID == 0:
        # The servers chose their own ids: from here on they are one lease to us.
        other = rpc.LeaseGrantResponse.FromString(sent[3].result())
        if other.ID <= 0 or message.ID <= 0:
            pair.differ("a chosen lease id must be positive", request, str(message.ID), str(other.ID))
        pair.lease_ids[message.ID] = other.ID
    script.learn(method, request, message)


def run_script(pair, seed, ops, old):
    """The random part: returns the number of watch events that were compared."""
    rng = random.Random(seed)
    script = Script(rng, old)
    pair.seed = seed
    recorder = Recorder(pair.a, pair.canon_a)
    session = WatchSession(pair, script, recorder)
    events = 0
    steps_in_session = 0
    begin = pair.ops
    while pair.ops - begin < ops:
        r = rng.random()
        if r < 0.25:
            sent = [pair.send(*script.read()) for _ in range(rng.randint(4, 16))]
            for one in sent:
                pair.receive(one)
        elif r < 0.85:
            write(pair, script, session)
        elif r < 0.87:
            keep_alive(pair, script)
        elif r < 0.95:
            session.create()
        elif r < 0.975:
            session.cancel()
        elif r < 0.985:
            session.progress()
        elif r < 0.99:
            session.nothing()
        else:
            session.checkpoint()
        steps_in_session += 1
        if steps_in_session > 300 or len(session.watchers) > 16 or session.broken:
            events += session.events()
            session.close()
            session = WatchSession(pair, script, recorder)
            steps_in_session = 0
    events += session.events()
    session.close()
    recorder.stream.close()
    return events


def check_expiry(pair):
    """A lease that runs out deletes its keys, in one revision, on both. Waits about three seconds."""
    pair.call("etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=2, ID=424242))
    for key in EXPIRY_KEYS:
        pair.call("etcdserverpb.KV/Put", rpc.PutRequest(key=key, value=b"x", lease=424242))
    everything = rpc.RangeRequest(key=b"expiring/", range_end=b"expiring0")
    end = time.monotonic() + 15
    while time.monotonic() < end:
        left = [len(rpc.RangeResponse.FromString(c.unary("etcdserverpb.KV/Range")(
            everything.SerializeToString())).kvs) for c in (pair.a, pair.b)]
        if left == [0, 0]:
            break
        if any(n not in (0, len(EXPIRY_KEYS)) for n in left):
            pair.differ("expiry deletes all keys in one revision", everything, str(left[0]), str(left[1]))
        time.sleep(0.02)
    pair.call("etcdserverpb.KV/Range", everything)
    pair.call("etcdserverpb.Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=424242, keys=True))


def wait_for_storage_version(calls):
    """A fresh etcd serves before it has settled the version of its storage, and until then shows an older one."""
    end = time.monotonic() + 20
    status = rpc.StatusResponse()
    while not status.storageVersion.startswith("3.7"):
        if time.monotonic() > end:
            support.fail("storage version %r after 20 s" % status.storageVersion)
        answer = calls.unary("etcdserverpb.Maintenance/Status")(rpc.StatusRequest().SerializeToString(), timeout=5)
        status.ParseFromString(answer)


class Servers:
    """The reference and the server under test, both fresh, with the pair that talks to them."""

    def __init__(self, options, etcd, seed, extra=()):
        self.options, self.seed = options, seed
        self.directory = support.scratch("differential", in_memory=True)
        self.servers = [support.Server(etcd, self.directory + "/reference", extra, "reference"),
                        support.Server(options.server, self.directory + "/server", extra, "server")]
        self.pair = None

    def __enter__(self):
        try:
            for s in self.servers:
                s.start(wait=False)
            for s in self.servers:
                s.wait_ready(30)
        except BaseException:
            self.__exit__()
            raise
        self.pair = Pair(self.servers[0].target, self.servers[1].target, self.seed, self.options.max_differences)
        for calls in (self.pair.a, self.pair.b):
            wait_for_storage_version(calls)
        return self

    def __exit__(self, *_):
        if self.pair:
            self.pair.close()
        for s in self.servers:
            s.stop()
        if not self.options.keep:
            shutil.rmtree(self.directory)

    def account(self, totals):
        """Adds what the pair has counted; a server that ended on its own counts as a difference."""
        for s in self.servers:
            if not s.alive():
                print("seed %d: the %s ended with %s:\n%s" % (self.seed, s.label, s.process.returncode, s.tail()))
                totals["differences"] += 1
        totals["ops"] += self.pair.ops
        totals["differences"] += self.pair.differences
        for name in ("kinds", "errors"):
            for k, v in getattr(self.pair, name).items():
                totals[name][k] = totals[name].get(k, 0) + v


def run_cases(options, etcd, totals):
    """The named cases, on one pair of servers; on fresh ones again after a case in which the two stores diverged, and
    before one that needs them."""
    left = [f for f in CASES if not options.case or options.case in f.__name__]
    while left:
        with Servers(options, etcd, 0, (PROGRESS_FLAG,)) as servers:
            fresh = True
            while left and (fresh or left[0] not in FRESH_CASES):
                function = left.pop(0)
                fresh = False
                totals["cases"] += 1
                before = servers.pair.differences
                servers.pair.max_differences = before + options.max_differences
                diverged = None
                try:
                    function(Both(servers.pair))
                except Diverged as e:
                    diverged = e
                if servers.pair.differences != before or diverged:
                    print("^ in the named case %s %s" % (function.__name__, diverged or ""), flush=True)
                if diverged or not all(s.alive() for s in servers.servers):
                    break
            servers.account(totals)


def run_seed(options, etcd, seed, ops, totals):
    with Servers(options, etcd, seed) as servers:
        pair = servers.pair
        try:
            if options.part in ("all", "script"):
                totals["events"] += run_script(pair, seed, ops, totals["old"])
                check_expiry(pair)
            if options.part in ("all", "hammer"):
                run_hammer(pair, options, totals)
        except Diverged as e:
            print("seed %d stopped after %d operations: %s" % (seed, pair.ops, e))
            totals["stopped"] += 1
        servers.account(totals)


def run_hammer(pair, options, totals):
    for name, calls, canon in (("reference", pair.a, pair.canon_a), ("server", pair.b, pair.canon_b)):
        count, problems = hammer(calls, canon, 4, options.hammer, name)
        totals["hammer " + name] = totals.get("hammer " + name, 0) + count
        for problem in problems[:5]:
            print("watch from now: " + problem)
        totals["differences"] += len(problems)


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=5, help="how many; the operations are divided among them")
    parser.add_argument("--ops", type=int, default=50000)
    parser.add_argument("--hammer", type=int, default=100, help="rounds per thread and seed of the watch loop")
    parser.add_argument("--part", choices=("all", "cases", "script", "hammer"), default="all")
    parser.add_argument("--case", help="only the named cases that contain this text")
    parser.add_argument("--max-differences", type=int, default=10, help="per seed")
    parser.add_argument("--keep", action="store_true", help="keep the data directories")
    options = support.parse(parser)
    version, etcd, _ = support.reference()
    print("reference: etcd %s (%s)" % (version, etcd))
    totals = {"ops": 0, "differences": 0, "events": 0, "cases": 0, "stopped": 0, "old": version.startswith("3.4"), "kinds": {}, "errors": {}}
    begin = time.monotonic()
    if totals["old"]:
        print("the named cases are 3.7's: not run against this reference")
    elif options.part in ("all", "cases"):
        run_cases(options, etcd, totals)
    for seed in range(options.seed, options.seed + options.seeds) if options.part != "cases" else ():
        run_seed(options, etcd, seed, options.ops // options.seeds, totals)
        print("seed %d done: %d operations, %d events, %d differences so far" % (
            seed, totals["ops"], totals["events"], totals["differences"]), flush=True)
    print("operations by kind: " + ", ".join("%s %d" % item for item in sorted(totals["kinds"].items())))
    print("errors seen: " + "; ".join("%s ×%d" % item for item in sorted(totals["errors"].items(), key=lambda x: -x[1])[:40]))
    support.count("watch from now: %d rounds on the reference, %d on the server" % (
        totals.get("hammer reference", 0), totals.get("hammer server", 0)))
    support.count("differential: %d operations, %d watch events, %d named cases, %d seeds, %.0f s: %d differences" % (
        totals["ops"], totals["events"], totals["cases"], options.seeds, time.monotonic() - begin,
        totals["differences"]))
    enough = options.part != "all" or options.case or (totals["ops"] >= options.ops and totals["events"] > 0)
    sys.exit(0 if totals["differences"] == 0 and not totals["stopped"] and enough else 1)


if __name__ == "__main__":
    main()
