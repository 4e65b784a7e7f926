"""The random script: requests of all kinds, from one seed.

The generator knows the reference's state roughly (revision, compacted revision, leases), so that most requests do
something; all of it comes from answers that were compared, so a seed gives the same script again.
"""

from diff_canon import rpc

KEYS = [b"a", b"a/1", b"a/2", b"a/3", b"a0", b"b", b"b/1", b"b/2", b"c", b"d", b"e", b"k\x00", b"k\x00\x00", b"k\x01",
        b"z", b"\x00", b"\x00\x01", b"\xff", b"\xff\xff", b"\xc3\xa4", b"m" * 200]
ENDS = KEYS + [b"\x00"] * 8 + [b"", b"b0", b"a0", b"l", b"zz"]


class Script:
    def __init__(self, rng, old=False):
        self.rng = rng
        self.old = old  # the reference is etcd 3.4: without what tests/reference/README.md lists
        self.revision = 1
        self.compacted = 0
        self.leases = {}  # id -> granted TTL
        self.next_lease = 0
        self.counter = 0
        self.as_bytes = False  # bytes cannot be mapped: no ids that the servers chose themselves

    # ---- pieces ----

    def maybe(self, percent):
        return self.rng.random() * 100 < percent

    def key(self, empty=1.0):
        return b"" if self.maybe(empty) else self.rng.choice(KEYS)

    def interval(self):
        """(key, range_end): single keys, prefixes, open ends, everything, empty and inverted ones."""
        r = self.rng.random()
        if r < 0.30:
            return self.key(), b""
        if r < 0.45:
            return b"\x00", b"\x00"
        if r < 0.60:
            return self.key(), b"\x00"
        if r < 0.75:
            p = self.rng.choice([b"a", b"b", b"a/", b"k", b"\xff"])
            end = p[:-1] + bytes([p[-1] + 1]) if p[-1] < 255 else b"\x00"
            return p, end
        return self.key(), self.rng.choice(ENDS)

    def value(self):
        self.counter += 1
        r = self.rng.random()
        if r < 0.10:
            return b""
        if r < 0.40:  # few values, so that comparisons and sorting meet equal ones
            return b"v%d" % self.rng.randrange(4)
        if r < 0.97:
            return b"value %d \x00\xff" % self.counter
        return self.rng.randbytes(self.rng.randrange(1000, 5000))

    def some_revision(self):
        """Around what there is: old, current, compacted, future, negative."""
        r = self.rng.random()
        if r < 0.80:
            return self.rng.randint(max(1, self.compacted), max(1, self.revision))
        if r < 0.90:
            return self.rng.choice([self.compacted - 1, self.compacted, self.compacted + 1])
        return self.rng.choice([self.revision, self.revision + 1, self.revision + 1000, -1, 1, 2 ** 62])

    def recent_revision(self):
        return self.rng.randint(max(0, self.revision - 60), self.revision + 1)

    def lease(self):
        r = self.rng.random()
        known = sorted(i for i in self.leases if not self.as_bytes or i < 2 ** 32)
        if r < 0.90 and known:
            return self.rng.choice(known)
        return self.rng.choice([1, 99, -1, 2 ** 63 - 1, -2 ** 63])

    # ---- requests ----

    def range(self):
        m = rpc.RangeRequest()
        m.key, m.range_end = self.interval()
        if self.maybe(35):
            m.limit = self.rng.choice([1, 1, 2, 3, 5, 8, 100, -1])
        if self.maybe(35):
            m.revision = self.some_revision()
        if self.maybe(40):
            m.sort_order = self.rng.choice([0, 1, 2])
            m.sort_target = self.rng.randrange(5)
            if not self.old and self.maybe(3):
                m.sort_order = self.rng.choice([3, 99, -1])
            if not self.old and self.maybe(3):
                m.sort_target = self.rng.choice([5, 99, -1])
        m.serializable = self.maybe(30)
        m.keys_only = self.maybe(15) and not self.old
        m.count_only = self.maybe(10)
        if self.maybe(15):
            for field in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
                if self.maybe(40):
                    setattr(m, field, self.recent_revision())
        return m

    def put(self):
        m = rpc.PutRequest(key=self.key(), value=self.value())
        if self.maybe(20):
            m.lease = self.lease()
        m.prev_kv = self.maybe(30)
        if self.maybe(8):
            m.ignore_value = True
            if self.maybe(80):
                m.value = b""
        if self.maybe(8):
            m.ignore_lease = True
            if self.maybe(80):
                m.lease = 0
        return m

    def delete_range(self):
        m = rpc.DeleteRangeRequest(prev_kv=self.maybe(40))
        if self.maybe(60):
            m.key = self.key()
        else:
            m.key, m.range_end = self.interval()
            if m.range_end == b"\x00" and self.maybe(70):
                m.range_end = b""  # not too often everything
        return m

    def compare(self):
        m = rpc.Compare(result=self.rng.randrange(4), target=self.rng.randrange(5))
        m.key = self.key()
        if self.maybe(25):
            m.key, m.range_end = self.interval()
        field = ("version", "create_revision", "mod_revision", "value", "lease")[m.target]
        if self.maybe(5):
            field = self.rng.choice(("version", "create_revision", "mod_revision", "value", "lease"))
        if self.maybe(97):
            if field == "value":
                m.value = b"v%d" % self.rng.randrange(4)
            elif field == "version":
                m.version = self.rng.randrange(4)
            elif field == "lease":
                m.lease = self.rng.choice([0, 0, 1001, 1002, 1003])
            else:
                setattr(m, field, self.rng.choice([0, self.recent_revision()]))
        if self.maybe(1):
            m.result = self.rng.choice([4, 77, -1])
        if self.maybe(1):
            m.target = self.rng.choice([5, 77, -1])
        return m

    def op(self, depth, read_only, used):
        m = rpc.RequestOp()
        r = self.rng.random()
        if r < 0.01:
            return m  # no request at all
        if depth > 0 and r < 0.12:
            m.request_txn.CopyFrom(self.txn(depth - 1, read_only))
        elif read_only or r < 0.35:
            m.request_range.CopyFrom(self.range())
            if self.maybe(90):
                m.request_range.revision = 0
            if m.request_range.key == b"" and self.maybe(90):
                m.request_range.key = b"a"
        elif r < 0.80:
            m.request_put.CopyFrom(self.put())
            if self.maybe(92):  # mostly valid and without duplicates, since one bad operation refuses all
                free = [k for k in KEYS if k not in used] or KEYS
                m.request_put.key = self.rng.choice(free)
                m.request_put.ignore_value = m.request_put.ignore_lease = False
                if m.request_put.lease not in self.leases:
                    m.request_put.lease = 0
            used.add(m.request_put.key)
        else:
            m.request_delete_range.CopyFrom(self.delete_range())
            if self.maybe(80):
                m.request_delete_range.range_end = b""
                m.request_delete_range.key = self.rng.choice([k for k in KEYS if k not in used] or KEYS)
            used.add(m.request_delete_range.key)
        return m

    def txn(self, depth=2, read_only=False):
        m = rpc.TxnRequest()
        m.compare.extend(self.compare() for _ in range(self.rng.choice([0, 1, 1, 1, 2, 3])))
        for branch in (m.success, m.failure):
            used = set()
            branch.extend(self.op(depth, read_only, used) for _ in range(self.rng.choice([0, 1, 1, 2, 3, 4])))
        if depth == 2 and self.maybe(0.5):
            extra = self.rng.choice([125, 129, 140])
            m.success.extend(rpc.RequestOp(request_range=rpc.RangeRequest(key=b"a")) for _ in range(extra))
        return m

    def compact(self):
        r = self.rng.random()
        if r < 0.70:
            revision = max(self.compacted, self.revision - self.rng.randrange(0, 80))
        else:
            revision = self.rng.choice([self.compacted, self.compacted - 1, self.revision, self.revision + 1, 0, -5])
        return rpc.CompactionRequest(revision=revision, physical=self.maybe(50))

    def grant(self):
        """Explicit ids, unique long TTLs: nothing expires during the run and their order by expiry is known."""
        self.next_lease += 1
        m = rpc.LeaseGrantRequest(TTL=100000 + 2000 * self.next_lease, ID=1000 + self.next_lease)
        r = self.rng.random()
        if r < 0.10:
            m.ID = self.lease()  # often: exists already
        elif r < 0.15:
            m.ID = 0
        elif r < 0.20:
            m.TTL = self.rng.choice([9000000000, 9000000001, 2 ** 63 - 1])
        return m

    def read(self):
        """A request that changes nothing, as (method, request)."""
        r = self.rng.random()
        if r < 0.68:
            return "etcdserverpb.KV/Range", self.range()
        if r < 0.77 and not self.old:
            m = self.range()
            if m.sort_order == rpc.RangeRequest.NONE and 0 < m.sort_target < 5:
                # etcd sorts each chunk on its own and goes on behind its last key, which leaves out and repeats
                # keys. Quoral streams in key order.
                m.sort_target = rpc.RangeRequest.KEY
            return "etcdserverpb.KV/RangeStream", m
        if r < 0.87:
            return "etcdserverpb.KV/Txn", self.txn(0, True)
        if r < 0.92:
            return "etcdserverpb.Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=self.lease(),
                                                                                   keys=self.maybe(60))
        if r < 0.94:
            return "etcdserverpb.Lease/LeaseLeases", rpc.LeaseLeasesRequest()
        if r < 0.95:
            return "etcdserverpb.Cluster/MemberList", rpc.MemberListRequest(linearizable=self.maybe(50))
        if r < 0.955:
            # what is left out raises an alarm, and an alarm stops the writes
            return "etcdserverpb.Maintenance/Alarm", rpc.AlarmRequest(**self.rng.choice([
                {}, {"alarm": 1}, {"alarm": 2}, {"action": 1}, {"action": 2}, {"action": 2, "alarm": 1},
                {"action": 2, "alarm": 2, "memberID": 1}]))
        if r < 0.96 and not self.old:
            return "etcdserverpb.Maintenance/Status", rpc.StatusRequest()
        if self.old:
            return "etcdserverpb.KV/Range", self.range()
        return "etcdserverpb.KV/Range", self.damage(self.range().SerializeToString())

    def write(self):
        """A request that may change something, as (method, request)."""
        r = self.rng.random()
        if r < 0.48:
            return "etcdserverpb.KV/Put", self.put()
        if r < 0.60:
            return "etcdserverpb.KV/DeleteRange", self.delete_range()
        if r < 0.88:
            return "etcdserverpb.KV/Txn", self.txn()
        if r < 0.93:
            if len(self.leases) > 12 or self.maybe(30):
                return "etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=self.lease())
            return "etcdserverpb.Lease/LeaseGrant", self.grant()
        if r < 0.95:
            return "etcdserverpb.KV/Compact", self.compact()
        if self.old:
            return "etcdserverpb.KV/Put", self.put()
        self.as_bytes = True
        method, request = self.rng.choice([
            ("etcdserverpb.KV/Put", self.put()),
            ("etcdserverpb.KV/DeleteRange", self.delete_range()),
            ("etcdserverpb.KV/Txn", self.txn()),
            ("etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=self.lease())),
        ])
        self.as_bytes = False
        return method, self.damage(request.SerializeToString())

    def damage(self, data):
        """Bytes that are nearly a message: flipped, cut, lengthened, with unknown or repeated fields, or just noise."""
        rng = self.rng
        data = bytearray(data)
        r = rng.random()
        if r < 0.30 and data:
            for _ in range(rng.randint(1, 3)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif r < 0.45 and data:
            del data[rng.randrange(len(data)):]
        elif r < 0.60:
            data += rng.randbytes(rng.randint(1, 6))
        elif r < 0.75:  # unknown fields of every wire type
            data += rng.choice([b"\xf8\x07\x05", b"\xfa\x07\x03abc", b"\xfd\x07\x01\x02\x03\x04",
                                b"\xf9\x07\x01\x02\x03\x04\x05\x06\x07\x08", b"\xfb\x07\xfc\x07", b"\x00\x01",
                                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01"])
        elif r < 0.85:
            data += bytes(data)  # every field twice
        else:
            data = bytearray(rng.randbytes(rng.randint(1, 40)))
        return bytes(data)

    # ---- what the answers say ----

    def learn(self, method, request, answer):
        """answer: the reference's, decoded, or None if it was refused."""
        if answer is None:
            return
        if hasattr(answer, "header") and answer.header.revision > self.revision and \
                not method.startswith("etcdserverpb.Cluster/"):
            self.revision = answer.header.revision
        if isinstance(request, bytes):
            pass  # a damaged LeaseRevoke may have hit one of ours: its id is then just an unknown one
        elif method.endswith("/Compact"):
            self.compacted = request.revision
        elif method.endswith("/LeaseGrant"):
            self.leases[answer.ID] = answer.TTL
        elif method.endswith("/LeaseRevoke"):
            self.leases.pop(request.ID, None)
