"""Named cases of the differential test: corners that the random script does not reach, and what it once found.

Each case sends its requests to both servers through the pair, which compares every answer. They run in this order on
fresh servers; the first ones need that.
"""

import time

import grpc

from diff_canon import clean_text, rpc
from diff_pair import SHORT_TTL, Answer, result_of, show
from diff_watch import PATIENCE, WatchStream

CASES = []
FRESH_CASES = []  # those among them that need fresh servers
ALL = {"key": b"\0", "range_end": b"\0"}
LIMIT = 1572864  # --max-request-bytes
MESSAGE_LIMIT = LIMIT + 512 * 1024
PROGRESS_FLAG = "--watch-progress-notify-interval=300ms"


def case(function):
    CASES.append(function)
    return function


def fresh_case(function):
    FRESH_CASES.append(function)
    return case(function)


class Both:
    """Short names for the calls."""

    def __init__(self, pair):
        self.pair = pair

    def get(self, key=b"\0", range_end=b"", **more):
        return self.pair.call("etcdserverpb.KV/Range", rpc.RangeRequest(key=key, range_end=range_end, **more))[1]

    def stream(self, **more):
        return self.pair.call("etcdserverpb.KV/RangeStream", rpc.RangeRequest(**more))[1]

    def put(self, key, value=b"v", **more):
        return self.pair.call("etcdserverpb.KV/Put", rpc.PutRequest(key=key, value=value, **more))[1]

    def delete(self, key, range_end=b"", **more):
        return self.pair.call("etcdserverpb.KV/DeleteRange",
                              rpc.DeleteRangeRequest(key=key, range_end=range_end, **more))[1]

    def txn(self, compare=(), success=(), failure=()):
        return self.pair.call("etcdserverpb.KV/Txn", txn(compare, success, failure))[1]

    def compact(self, revision, **more):
        return self.pair.call("etcdserverpb.KV/Compact", rpc.CompactionRequest(revision=revision, **more))[1]

    def grant(self, ttl, lease):
        return self.pair.call("etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=ttl, ID=lease))[1]

    def revoke(self, lease):
        return self.pair.call("etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease))[1]

    def grant_and_revoke(self, ttl, lease):
        """With a TTL so short that the lease may have ended by itself, if the machine has no time for this."""
        end = time.monotonic() + SHORT_TTL
        self.grant(ttl, lease)
        self.pair.call_within(end, "etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease))

    def ttl(self, lease, keys=True):
        return self.pair.call("etcdserverpb.Lease/LeaseTimeToLive",
                              rpc.LeaseTimeToLiveRequest(ID=lease, keys=keys))[1]

    def raw(self, method, data):
        return self.pair.call(method, data)[0]

    def revision(self):
        return self.get(b"nothing").header.revision


def put(key, value=b"v", **more):
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, **more))


def get(key, range_end=b"", **more):
    return rpc.RequestOp(request_range=rpc.RangeRequest(key=key, range_end=range_end, **more))


def delete(key, range_end=b"", **more):
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key, range_end=range_end, **more))


def txn(compare=(), success=(), failure=()):
    return rpc.TxnRequest(compare=compare, success=success, failure=failure)


def nested(compare=(), success=(), failure=()):
    return rpc.RequestOp(request_txn=txn(compare, success, failure))


def exists(key):
    return rpc.Compare(result=rpc.Compare.GREATER, target=rpc.Compare.VERSION, key=key, version=0)


class Watching:
    """One stream to each server; answers are compared in the order of each server's stream."""

    def __init__(self, pair):
        self.pair = pair
        self.streams = (WatchStream(pair.a, pair.canon_a), WatchStream(pair.b, pair.canon_b))
        for s in self.streams:
            s.may_fragment = set(range(100))

    def send(self, **request):
        for s in self.streams:
            s.send(**request)

    def expect(self, controls, events=None):
        """Waits for that many control answers and, per watcher, events in all, and compares everything."""
        events = events or {}
        for s in self.streams:
            s.wait(lambda s=s: len(s.controls) >= controls and
                   all(len(s.events.get(i, ())) >= n for i, n in events.items()))
        a, b = self.streams
        end = time.monotonic() + PATIENCE
        while a.events != b.events and time.monotonic() < end:  # those of watchers that are not counted here
            time.sleep(0.005)
        self.pair.count("watch case", Answer("OK", "", b""))
        if a.controls != b.controls or a.events != b.events or len(a.controls) != controls or a.problems or b.problems:
            self.pair.differ("watch case, %d answers and %s events expected" % (controls, events), None, *[
                "%s %s %s %s" % ([show(m) for m in s.controls],
                                 {k: [e[:3] for e in v] for k, v in s.events.items()}, s.problems,
                                 s.ended and (s.ended.code, s.ended.text)) for s in self.streams])

    def ended(self):
        for s in self.streams:
            s.wait(lambda: False)
        a, b = self.streams
        self.pair.count("watch case", Answer("OK", "", b""))
        texts = [s.ended and (s.ended.code, s.ended.text) for s in (a, b)]
        if texts[0] != texts[1] or texts[0] is None:
            self.pair.differ("end of the watch stream", None, *map(str, texts))

    def close(self):
        for s in self.streams:
            s.close()


# ---- needs a fresh store ----

@case
def compact_on_a_fresh_store(c):
    c.compact(-1)
    c.compact(2)
    c.compact(0)
    c.compact(0)
    c.compact(1)
    c.compact(1)


@case
def reads_on_a_fresh_store(c):
    for revision in (-5, 0, 1, 2, 2 ** 63 - 1):
        c.get(**ALL, revision=revision)
        c.stream(**ALL, revision=revision)
    c.txn()
    c.txn(success=[get(b"a")])
    c.delete(**ALL)
    c.pair.call("etcdserverpb.Cluster/MemberList", rpc.MemberListRequest())
    c.pair.call("etcdserverpb.Maintenance/Status", rpc.StatusRequest())


# ---- KV ----

@case
def put_flags(c):
    c.put(b"")
    c.put(b"flags/missing", b"", ignore_value=True)
    c.put(b"flags/missing", b"x", ignore_lease=True)
    c.put(b"flags/a", b"1", prev_kv=True)
    c.put(b"flags/a", b"2", ignore_value=True)
    c.put(b"flags/a", b"", ignore_value=True, prev_kv=True)
    c.put(b"flags/a", b"3", ignore_lease=True, lease=5)
    c.put(b"flags/a", b"3", lease=777)
    c.put(b"flags/a", b"", ignore_value=True, ignore_lease=True, prev_kv=True)
    c.put(b"", b"x", ignore_value=True, lease=5, ignore_lease=True)
    c.get(b"flags/a")


@case
def sizes_of_requests(c):
    c.put(b"big", b"x" * (LIMIT - 300))
    c.put(b"big", b"x" * (LIMIT + 300))
    c.txn(success=[put(b"big/%d" % i, b"x" * 300000) for i in range(6)])
    c.txn(success=[put(b"big/%d" % i, b"x" * 300000) for i in range(5)])
    for size in (MESSAGE_LIMIT, MESSAGE_LIMIT + 1, 3 * MESSAGE_LIMIT):
        fixed = len(rpc.PutRequest(key=b"big", value=b"x" * (1 << 20)).SerializeToString()) - (1 << 20)
        filler = size - fixed - (1 if size - fixed >= 1 << 21 else 0)
        data = rpc.PutRequest(key=b"big", value=b"x" * filler).SerializeToString()
        assert len(data) == size
        c.raw("etcdserverpb.KV/Put", data)
    c.put(b"k" * 60000, b"long key")
    c.get(b"k" * 60000)
    c.delete(b"big", b"bih", prev_kv=True)


@case
def ends_of_ranges(c):
    for key in (b"a", b"a\0", b"aa", b"b", b"\xff", b"\xff\xff"):
        c.put(b"ends/" + key)
    c.put(b"\xff\xff\xff")
    for key, end in ((b"ends/a", b"ends/a"), (b"ends/b", b"ends/a"), (b"ends/a", b"ends/a\0"), (b"ends/\xff", b"\0"),
                     (b"", b"ends/b"), (b"", b"\0"), (b"\0", b"\0"), (b"ends/", b"ends0"), (b"ends/a", b"\0\0"),
                     (b"\0", b"ends/b"), (b"ends/a", b"\xff\xff\xff\xff")):
        c.get(key, end)
        c.stream(key=key, range_end=end)
        c.txn(success=[get(key, end)])
        c.delete(key, end) if end == b"ends/a" else None


@case
def limits_counts_and_filters(c):
    first = c.revision()
    for i in range(30):
        c.put(b"many/%02d" % i, b"%d" % (i % 7))
    for i in range(0, 30, 3):
        c.put(b"many/%02d" % i, b"again")
    both = {"key": b"many/", "range_end": b"many0"}
    for limit in (0, 1, 29, 30, 31, -3, 2 ** 63 - 1, -2 ** 63):
        c.get(**both, limit=limit)
        c.get(**both, limit=limit, sort_order=2)
        c.get(**both, limit=limit, count_only=True)
        c.get(**both, limit=limit, min_mod_revision=first + 20)
        c.stream(**both, limit=limit)
        c.stream(**both, limit=limit, count_only=True)
    for target in range(5):
        for order in range(3):
            for only in (False, True):
                c.get(**both, sort_target=target, sort_order=order, keys_only=only)
                c.get(**both, sort_target=target, sort_order=order, keys_only=only, limit=7)
                c.get(**both, sort_target=target, sort_order=order, limit=7, max_create_revision=first + 15,
                      keys_only=only)
            if order or not target:  # see Script.read
                c.stream(**both, sort_target=target, sort_order=order, limit=7)
    for field in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
        for value in (-1, 1, first + 10, first + 31, 2 ** 62):
            c.get(**both, **{field: value})
            c.get(**both, **{field: value}, limit=3, count_only=True)
            c.stream(**both, **{field: value})
    c.get(**both, count_only=True, keys_only=True)
    c.get(**both, count_only=True, sort_order=9)
    c.get(**both, sort_order=3)
    c.get(**both, sort_target=5)
    c.get(**both, sort_target=-1)
    c.stream(**both, sort_order=7)
    c.get(b"", sort_order=7)


@case
def large_ranges(c):
    for i in range(300):
        c.put(b"large/%03d" % i, bytes([i & 255]) * 12000)
    both = {"key": b"large/", "range_end": b"large0"}
    revision = c.revision()
    c.put(b"large/000", b"changed")
    for more in ({}, {"limit": 250}, {"revision": revision}, {"revision": revision, "limit": 299}, {"keys_only": True},
                 {"count_only": True}, {"serializable": True}):
        c.get(**both, **more)
        c.stream(**both, **more)
    c.delete(b"large/", b"large0", prev_kv=True)


@case
def old_revisions_after_compaction(c):
    r = c.put(b"old/a", b"1").header.revision
    c.put(b"old/b", b"1")
    c.put(b"old/a", b"2")
    c.delete(b"old/b")
    c.put(b"old/b", b"2")
    for _ in range(3):
        c.delete(b"old/b")
        c.put(b"old/b", b"3")
    for at in range(r - 1, c.revision() + 2):
        c.get(b"old/", b"old0", revision=at)
        c.get(b"old/", b"old0", revision=at, count_only=True)
    # at a put, at a tombstone, at a put of another key
    for at in (r + 2, r + 3, r + 4, r + 5):
        c.compact(at, physical=at % 2 == 0)
        for revision in range(r, c.revision() + 1):
            c.get(b"old/", b"old0", revision=revision)
            c.stream(key=b"old/", range_end=b"old0", revision=revision)
            c.txn(success=[get(b"old/", b"old0", revision=revision)])
        w = Watching(c.pair)
        w.send(create_request=rpc.WatchCreateRequest(key=b"old/", range_end=b"old0", start_revision=at, prev_kv=True))
        w.expect(1, {0: c.revision() + 1 - at})
        w.close()
    c.compact(r)
    c.compact(c.revision() + 1)
    c.compact(c.revision())
    c.compact(c.revision())
    c.get(b"old/", b"old0", revision=c.revision())


# ---- Txn ----

@case
def txn_number_of_operations(c):
    for n in (127, 128, 129):
        c.txn(compare=[exists(b"n%d" % i) for i in range(n)])
        c.txn(success=[get(b"a")] * n)
        c.txn(failure=[get(b"a")] * n)
        c.txn(success=[put(b"n/%d" % i) for i in range(n)])
    # what is left for a nested one: the limit less the largest of the three lists
    for inner in (62, 63, 64, 65):
        c.txn(success=[get(b"a")] * 63 + [nested(success=[get(b"a")] * inner)])
        c.txn(compare=[exists(b"a")] * 64, failure=[nested(success=[get(b"a")] * inner)])
    c.txn(success=[nested(success=[nested(success=[nested(success=[get(b"a")] * 125)])])])
    c.txn(success=[nested(success=[nested(success=[nested(success=[get(b"a")] * 126)])])])
    c.delete(b"n/", b"n0")


@case
def txn_duplicate_keys(c):
    c.txn(success=[put(b"dup/a"), put(b"dup/a")])
    c.txn(success=[put(b"dup/a")], failure=[put(b"dup/a")])
    c.txn(success=[put(b"dup/a"), delete(b"dup/a")])
    c.txn(success=[delete(b"dup/a"), put(b"dup/a")])
    c.txn(success=[delete(b"dup/", b"dup0"), put(b"dup/a")])
    c.txn(success=[delete(b"dup/", b"dup0"), put(b"dup0")])
    c.txn(success=[delete(b"dup/", b"dup/a"), put(b"dup/a")])
    c.txn(success=[delete(b"dup/", b"\0"), put(b"dup/a", b"not seen as unbounded")])
    c.txn(success=[delete(b"dup/", b"dup0"), delete(b"dup/a"), delete(b"dup/a", b"dup/z")])
    c.txn(success=[put(b"dup/a"), get(b"dup/a"), get(b"dup/", b"dup0")])
    c.txn(success=[put(b"dup/a"), nested(success=[put(b"dup/a")])])
    c.txn(success=[nested(success=[put(b"dup/a")], failure=[put(b"dup/a")])])
    c.txn(success=[nested(success=[put(b"dup/a")]), nested(failure=[put(b"dup/a")])])
    c.txn(success=[nested(success=[put(b"dup/a")]), nested(failure=[put(b"dup/b")])])
    c.txn(success=[nested(success=[delete(b"dup/a")]), put(b"dup/a")])
    c.txn(success=[delete(b"dup/a"), nested(failure=[put(b"dup/a")])])
    c.txn(success=[nested(success=[delete(b"dup/", b"dup0")]), nested(success=[put(b"dup/q")])])
    c.txn(success=[delete(b"dup/z", b"dup/a"), put(b"dup/b")])
    c.get(b"dup/", b"dup0")


@case
def txn_compares_with_missing_keys(c):
    c.put(b"cmp/1", b"m")
    c.put(b"cmp/2", b"m")
    c.put(b"cmp/2", b"n")
    values = {0: ("version", (0, 1, 2)), 1: ("create_revision", (0, 5)), 2: ("mod_revision", (0, 2 ** 40)),
              3: ("value", (b"", b"m", b"n")), 4: ("lease", (0, 7))}
    for target, (field, some) in values.items():
        for value in some:
            for result in range(4):
                for key, end in ((b"cmp/none", b""), (b"cmp/1", b""), (b"cmp/1", b"cmp/3"), (b"cmp/3", b"cmp/9"),
                                 (b"cmp/1", b"\0"), (b"cmp/2", b"cmp/1"), (b"\0", b"\0")):
                    c.txn([rpc.Compare(result=result, target=target, key=key, range_end=end, **{field: value})])
    for result in (4, 5, -1, 2 ** 31 - 1):
        c.txn([rpc.Compare(result=result, target=0, key=b"cmp/1", version=1)])
    for target in (5, -1, 2 ** 31 - 1):
        for result in range(4):
            c.txn([rpc.Compare(result=result, target=target, key=b"cmp/1", version=1)])
    for target in range(5):  # the union does not fit the target, or is missing
        for result in range(4):
            c.txn([rpc.Compare(result=result, target=target, key=b"cmp/1")])
            c.txn([rpc.Compare(result=result, target=target, key=b"cmp/1", value=b"m")])
            c.txn([rpc.Compare(result=result, target=target, key=b"cmp/1", lease=1)])
    c.txn([rpc.Compare(key=b"", version=1)])
    c.txn([rpc.Compare(key=b"", range_end=b"\0", version=1)])


@case
def txn_checks_before_effects(c):
    start = c.revision()
    future = [-1, 0, 1, start - 1, start, start + 1, start + 2]
    for revision in future:
        c.txn(success=[get(b"a", revision=revision)])
        c.txn(success=[put(b"chk/a"), get(b"a", revision=revision)])
        c.txn(success=[nested(success=[put(b"chk/b"), get(b"a", revision=revision)])])
        c.txn(compare=[exists(b"chk/none")], success=[get(b"a", revision=revision)], failure=[put(b"chk/c")])
    c.txn(success=[put(b"chk/d"), put(b"chk/e", lease=98765)])
    c.txn(success=[put(b"chk/d"), put(b"chk/none", b"", ignore_value=True)])
    c.txn(success=[put(b"chk/d"), put(b"chk/none", b"", ignore_lease=True)])
    c.txn(success=[delete(b"chk/a"), nested(success=[put(b"chk/a2", b"", ignore_value=True)])])
    c.txn(success=[put(b"chk/f", b"x", ignore_value=True)])
    c.txn(success=[put(b"chk/f", b"x", ignore_lease=True, lease=3)])
    c.txn(success=[put(b"")])
    c.txn(success=[get(b"")], failure=[put(b"chk/f")])
    c.txn(failure=[get(b"a", sort_order=9)], success=[put(b"chk/f")])
    c.txn(success=[rpc.RequestOp()])
    c.txn(failure=[rpc.RequestOp()])
    c.txn(success=[nested(success=[rpc.RequestOp()])])
    c.txn(success=[delete(b"")])
    c.get(b"chk/", b"chk0")


@case
def txn_effects_are_seen_in_order(c):
    c.put(b"seq/a", b"0")
    c.txn(success=[get(b"seq/a"), put(b"seq/a", b"1", prev_kv=True), get(b"seq/a"), delete(b"seq/b", prev_kv=True),
                   get(b"seq/", b"seq0"), nested(compare=[rpc.Compare(target=3, key=b"seq/a", value=b"1")],
                                                 success=[put(b"seq/then")], failure=[put(b"seq/else")]),
                   get(b"seq/", b"seq0"), delete(b"seq/", b"seq/a", prev_kv=True), get(b"seq/", b"seq0")])
    c.txn(success=[delete(b"seq/", b"seq0", prev_kv=True), get(b"seq/", b"seq0"), delete(b"seq/", b"seq0"),
                   get(b"seq/", b"seq0", count_only=True)])
    c.txn(success=[get(b"seq/a", revision=c.revision()), put(b"seq/a"), get(b"seq/a", revision=c.revision())])
    c.txn(success=[delete(b"seq/none")])
    c.txn(success=[put(b"seq/a"), delete(b"seq/none")])
    c.txn(compare=[exists(b"seq/none")], success=[put(b"seq/a")])
    c.txn(success=[nested(), nested(success=[nested()])])
    c.txn(success=[get(b"seq/a", serializable=True)])
    c.txn(success=[get(b"seq/", b"seq0", limit=1), get(b"seq/", b"seq0", sort_order=2, sort_target=3)])


# ---- Lease ----

@case
def lease_ids_and_ttls(c):
    for lease in (1, -1, 2 ** 63 - 1, -2 ** 63):
        c.grant(1000, lease)
        c.grant(2000, lease)
        c.ttl(lease)
        c.revoke(lease)
        c.revoke(lease)
        c.ttl(lease)
        c.ttl(lease, keys=False)
    for ttl in (0, -1, 1, 2, 3, 9000000000, 9000000001, 2 ** 63 - 1, -2 ** 63):
        c.grant_and_revoke(ttl, 4711)
    c.ttl(0)
    c.revoke(0)
    c.put(b"lease/a", lease=-1)


@case
def lease_keys_move(c):
    c.grant(100000, 51)
    c.grant(200000, 52)
    c.put(b"lease/a", b"1", lease=51)
    c.put(b"lease/b", b"1", lease=51)
    c.put(b"lease/c", b"1", lease=51)
    c.ttl(51)
    c.put(b"lease/a", b"2", lease=52)
    c.put(b"lease/b", b"2")
    c.put(b"lease/c", b"2", ignore_lease=True)
    c.ttl(51)
    c.ttl(52)
    c.delete(b"lease/c")
    c.ttl(51)
    c.txn(success=[put(b"lease/d", lease=51), put(b"lease/e", lease=51), put(b"lease/f", lease=52)])
    c.get(b"lease/", b"lease0", keys_only=True)
    c.get(b"lease/", b"lease0", keys_only=True, sort_target=4, sort_order=1)
    c.get(b"lease/", b"lease0", keys_only=True, sort_target=1, sort_order=2)
    c.get(b"lease/", b"lease0")
    w = Watching(c.pair)
    w.send(create_request=rpc.WatchCreateRequest(key=b"lease/", range_end=b"lease0", prev_kv=True))
    w.expect(1)
    c.revoke(51)
    w.expect(1, {0: 2})
    c.revoke(52)
    w.expect(1, {0: 4})
    c.get(b"lease/", b"lease0")
    c.grant(100000, 53)
    c.revoke(53)
    c.pair.call("etcdserverpb.Lease/LeaseLeases", rpc.LeaseLeasesRequest())
    w.close()


# ---- Watch ----

@case
def watch_ids_and_intervals(c):
    w = Watching(c.pair)
    n = 0
    for m in (
            rpc.WatchCreateRequest(key=b"w/", range_end=b"w0"),
            rpc.WatchCreateRequest(key=b"w/", range_end=b"w0", watch_id=1),
            rpc.WatchCreateRequest(key=b"w/", range_end=b"w0", watch_id=1),
            rpc.WatchCreateRequest(key=b"w/a"),  # 2: skips the id in use
            rpc.WatchCreateRequest(key=b"w/a", watch_id=3),
            rpc.WatchCreateRequest(),
            rpc.WatchCreateRequest(range_end=b"\0"),
            rpc.WatchCreateRequest(key=b"w/b", range_end=b"w/a"),
            rpc.WatchCreateRequest(key=b"w/b", range_end=b"w/b"),
            rpc.WatchCreateRequest(key=b"w/b", range_end=b"\0"),
            rpc.WatchCreateRequest(key=b"\0", range_end=b"\0"),
            rpc.WatchCreateRequest(range_end=b"w/b"),
            rpc.WatchCreateRequest(key=b"w/a", watch_id=-7),
            rpc.WatchCreateRequest(key=b"w/a", watch_id=2 ** 63 - 1),
            rpc.WatchCreateRequest(key=b"w/a", filters=[0, 1]),
            rpc.WatchCreateRequest(key=b"w/a", filters=[9]),
            rpc.WatchCreateRequest(key=b"w/a", start_revision=-1),
            rpc.WatchCreateRequest(key=b"w/b", range_end=b"w/a", start_revision=-1, watch_id=1),
            rpc.WatchCreateRequest(key=b"w/a", start_revision=2 ** 63 - 1),
    ):
        w.send(create_request=m)
        n += 1
        w.expect(n)
    c.put(b"w/a")
    c.put(b"w/b")
    c.put(b"\0")
    c.delete(b"w/a")
    c.delete(b"\0")
    counts = {0: 3, 1: 3, 2: 2, 3: 2, 4: 2, -7: 2, 2 ** 63 - 1: 2}
    w.expect(n, counts)
    for watch_id in (999, 0, 0, 1, -7, -1, 1):  # unknown and repeated ones get no answer
        w.send(cancel_request=rpc.WatchCancelRequest(watch_id=watch_id))
    n += 3
    w.expect(n, counts)
    w.send(create_request=rpc.WatchCreateRequest(key=b"w/a", watch_id=1))
    w.expect(n + 1)
    w.send()
    w.send(create_request=rpc.WatchCreateRequest(key=b"w/a"))
    w.expect(n + 2)
    w.close()


@case
def watch_large_revision_with_and_without_fragments(c):
    for i in range(40):
        c.put(b"frag/%02d" % i, b"x" * 100000)
    for fragment in (False, True):
        w = Watching(c.pair)
        w.send(create_request=rpc.WatchCreateRequest(key=b"frag/", range_end=b"frag0", prev_kv=True,
                                                     fragment=fragment, start_revision=c.revision()))
        w.expect(1, {0: 1})
        w.send(create_request=rpc.WatchCreateRequest(key=b"frag/", range_end=b"frag0", prev_kv=True,
                                                     fragment=fragment))
        w.expect(2)
        c.delete(b"frag/", b"frag0")
        w.expect(2, {0: 41, 1: 40})
        seen = [s.open_fragment for s in w.streams]
        if seen != [set(), set()]:
            c.pair.differ("the last fragment is marked as not the last", None, *map(str, seen))
        w.close()
        c.txn(success=[put(b"frag/%02d" % i, b"x" * 14000) for i in range(100)])


@case
def watch_prev_kv_and_order_in_a_txn(c):
    c.put(b"order/b", b"old")
    w = Watching(c.pair)
    w.send(create_request=rpc.WatchCreateRequest(key=b"order/", range_end=b"order0", prev_kv=True))
    w.send(create_request=rpc.WatchCreateRequest(key=b"order/", range_end=b"order0", prev_kv=True, filters=[0]))
    w.send(create_request=rpc.WatchCreateRequest(key=b"order/b", filters=[1]))
    w.expect(3)
    c.txn(success=[put(b"order/z"), put(b"order/a"), delete(b"order/b"), nested(success=[put(b"order/c")])])
    w.expect(3, {0: 4, 1: 1})
    c.txn(success=[delete(b"order/", b"order0")])
    w.expect(3, {0: 7, 1: 4})
    c.put(b"order/b", b"new")
    c.txn(success=[delete(b"order/", b"\0"), put(b"order/b", b"after the open-ended delete")])
    w.expect(3, {0: 10, 1: 5, 2: 2})
    w.close()


@case
def watch_prev_kv_of_a_key_changed_twice_in_a_txn(c):
    """The duplicate check lets an open-ended delete follow a put (an accident that Quoral shares): prev_kv is what the
    key was before the transaction."""
    start = c.revision() + 1
    live = Watching(c.pair)
    live.send(create_request=rpc.WatchCreateRequest(key=b"twice/", range_end=b"\0", prev_kv=True))
    live.expect(1)
    c.put(b"twice/old", b"before")
    c.put(b"twice/gone", b"before")
    c.delete(b"twice/gone")
    c.txn(success=[put(b"twice/old", b"in"), put(b"twice/new", b"in"), put(b"twice/gone", b"in"),
                   delete(b"twice/", b"\0")])
    c.put(b"twice/old", b"after")
    c.txn(success=[delete(b"twice/", b"\0"), put(b"twice/old", b"again"), delete(b"twice/", b"\0")])
    c.put(b"twice/new", b"after")
    later = Watching(c.pair)
    later.send(create_request=rpc.WatchCreateRequest(key=b"twice/", range_end=b"\0", prev_kv=True,
                                                     start_revision=start))
    for w in (live, later):
        w.expect(1, {0: 14})
        w.close()


@case
def watch_progress_notify(c):
    """The servers of the named cases notify every 300 ms (PROGRESS_FLAG): the current revision, without events."""
    w = Watching(c.pair)
    w.send(create_request=rpc.WatchCreateRequest(key=b"progress/a", progress_notify=True))
    w.expect(1)
    for _ in range(2):
        revision = c.put(b"progress/b").header.revision
        for s in w.streams:
            s.wait(lambda s=s: s.progress >= revision, 5)
        if [s.progress for s in w.streams] != [revision, revision]:
            c.pair.differ("progress notification", None, *[str(s.progress) for s in w.streams])
    c.put(b"progress/a")
    w.expect(1, {0: 1})
    w.close()


@case
def watch_progress_request(c):
    """Asked for and answered at once where all watchers have caught up; not answered without watchers."""
    w = Watching(c.pair)
    w.send(progress_request=rpc.WatchProgressRequest())
    w.send(create_request=rpc.WatchCreateRequest(key=b"progress/a"))
    w.expect(1)
    time.sleep(0.1)
    if [s.progress for s in w.streams] != [0, 0]:
        c.pair.differ("progress answer without a watcher", None, *[str(s.progress) for s in w.streams])
    for _ in range(3):
        revision = c.put(b"progress/a").header.revision
        w.send(progress_request=rpc.WatchProgressRequest())
        for s in w.streams:
            s.wait(lambda s=s: s.progress >= revision, 5)
        if [s.progress for s in w.streams] != [revision, revision]:
            c.pair.differ("progress answer", None, *[str(s.progress) for s in w.streams])
        if any(not s.events[0] or s.events[0][-1][0] != revision for s in w.streams):
            c.pair.differ("the progress answer overtakes an event", None, *[str(s.events) for s in w.streams])
    w.close()


@case
def watch_below_the_compacted_revision(c):
    c.put(b"wc/a")
    revision = c.put(b"wc/a").header.revision
    c.compact(revision)
    for start in (1, revision - 1):
        w = Watching(c.pair)
        w.send(create_request=rpc.WatchCreateRequest(key=b"wc/a", start_revision=start))
        w.expect(2)
        w.close()
    w = Watching(c.pair)
    w.send(create_request=rpc.WatchCreateRequest(key=b"wc/a", start_revision=revision))
    w.expect(1, {0: 1})
    w.close()


# ---- bad input and unknown calls ----

@case
def unknown_services_and_methods(c):
    for method in ("etcdserverpb.KV/Nothing", "nothing.Nothing/Nothing", "etcdserverpb.KV/range", "KV/Range",
                   "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"):
        c.raw(method, b"")
        c.raw(method, b"\xff\xff")


@case
def health_service(c):
    c.raw("grpc.health.v1.Health/Check", b"")
    c.raw("grpc.health.v1.Health/Check", b"\x0a\x03foo")
    c.raw("grpc.health.v1.Health/Check", b"\xff")
    c.raw("grpc.health.v1.Health/List", b"")
    c.raw("grpc.health.v1.Health/List", b"\xff")


@case
def bytes_that_are_no_message(c):
    for method in ("KV/Range", "KV/Put", "KV/DeleteRange", "KV/Txn", "KV/Compact", "Lease/LeaseGrant",
                   "Lease/LeaseRevoke", "Lease/LeaseTimeToLive", "Cluster/MemberList", "Maintenance/Status"):
        for data in (b"\x0a", b"\x0a\x05a", b"\xff" * 11, b"\x00\x00", b"\x0b", b"\x0c", b"\x0e\x01", b"\x07",
                     b"\xf8\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00"):
            c.raw("etcdserverpb." + method, data)


@case
def messages_in_unusual_form(c):
    c.put(b"form/a", b"1")
    for data in (
            b"\x0a\x06form/a\x0a\x06form/a",  # a field twice: the last counts
            b"\x0a\x06form/z\x0a\x06form/a",
            b"\x0a\x86\x80\x00form/a",  # a length in more bytes than needed
            b"\x0a\x06form/a\x18\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00",
            b"\x0a\x06form/a\x38\x02",  # a bool of 2
            b"\x0a\x06form/a\x28\x81\x80\x80\x80\x10",  # an enum beyond 32 bits
            b"\x08\x05\x0a\x06form/a",  # the key's number with another wire type
            b"\x0a\x06form/a\x1a\x01x",  # the limit as bytes
            b"\x0a\x06form/a\xa3\x06\x08\x01\xa4\x06",  # an unknown group
            b"\x0a\x06form/a\xa3\x06\x08\x01",  # one without end
            b"\x0a\x06form/a\xa2\x06\x02hi",
    ):
        c.raw("etcdserverpb.KV/Range", data)
    first = rpc.TxnRequest(success=[put(b"form/b", b"first")]).SerializeToString()
    two = rpc.RequestOp(request_put=rpc.PutRequest(key=b"form/c", value=b"x")).SerializeToString() + \
        rpc.RequestOp(request_range=rpc.RangeRequest(key=b"form/a")).SerializeToString()
    same = rpc.RequestOp(request_put=rpc.PutRequest(key=b"form/c", value=b"x")).SerializeToString() + \
        rpc.RequestOp(request_put=rpc.PutRequest(value=b"merged", prev_kv=True)).SerializeToString()
    for op in (two, same, b"\x2a\x00", b"\x0a\x00", b""):
        c.raw("etcdserverpb.KV/Txn", first + b"\x12" + bytes([len(op)]) + op)
    union = rpc.Compare(key=b"form/a", version=1).SerializeToString() + rpc.Compare(value=b"1").SerializeToString()
    c.raw("etcdserverpb.KV/Txn", b"\x0a" + bytes([len(union)]) + union)
    c.get(b"form/", b"form0")


@case
def streams_that_get_garbage(c):
    for data in (b"\xff", b"\x0a\x05a", b"\x0a\x02\x0a\x05"):
        w = Watching(c.pair)
        w.send(create_request=rpc.WatchCreateRequest(key=b"a"))
        w.expect(1)
        for s in w.streams:
            s.requests.put(data)
        w.ended()
        w.close()
        answers = []
        for calls in (c.pair.a, c.pair.b):
            got = []
            try:
                got.extend(calls.stream("etcdserverpb.Lease/LeaseKeepAlive")(iter([data])))
            except grpc.RpcError as e:
                got.append((e.code().name, clean_text(e.details())))
            answers.append(got)
        c.pair.count("LeaseKeepAlive (raw)", Answer("OK", "", b""))
        if answers[0] != answers[1]:
            c.pair.differ("LeaseKeepAlive", data, *map(str, answers))


@case
def wrong_number_of_messages(c):
    """A unary call with none or two requests."""
    one = rpc.RangeRequest(key=b"a").SerializeToString()
    for method in ("etcdserverpb.KV/Range", "etcdserverpb.KV/Put"):
        for data in ([], [one, one]):
            answers = [result_of(calls.channel.stream_unary("/" + method).future(iter(data)))
                       for calls in (c.pair.a, c.pair.b)]
            c.pair.count("unary with %d messages" % len(data), answers[0])
            if [(x.code, x.text) for x in answers][0] != [(x.code, x.text) for x in answers][1]:
                c.pair.differ("%s with %d messages" % (method, len(data)), None,
                              *["%s %s" % (x.code, x.text) for x in answers])


@case
def half_closed_watch(c):
    """The client ends its side: its watchers go on."""
    w = Watching(c.pair)
    w.send(create_request=rpc.WatchCreateRequest(key=b"a"))
    w.expect(1)
    for s in w.streams:
        s.requests.put(None)
    c.put(b"a")
    w.expect(1, {0: 1})
    w.close()
