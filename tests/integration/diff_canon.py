"""When two servers' answers count as equal.

Compared is everything but: raft terms; cluster and member ids, which must be the same within one server; ids of leases
that the server chose (mapped); remaining TTLs, which may be a second apart; the order of ties in sorted ranges and of
a lease's keys, which the API leaves open.
"""

from support import load_messages

rpc, kv = load_messages()

RANGE_ORDER = {
    rpc.RangeRequest.KEY: lambda k: k.key,
    rpc.RangeRequest.VERSION: lambda k: k.version,
    rpc.RangeRequest.CREATE: lambda k: k.create_revision,
    rpc.RangeRequest.MOD: lambda k: k.mod_revision,
    rpc.RangeRequest.VALUE: lambda k: k.value,
}


def clean_text(text):
    """Go's protobuf library puts a no-break space into its errors in half of all builds, so that nobody relies on
    their text."""
    return (text or "").replace("\u00a0", " ")


class Canon:
    """One server's answers, in the form that is compared."""

    def __init__(self):
        self.ids = None  # (cluster, member)
        self.lease_names = {}  # id that this server chose -> name
        self.member_names = {}  # id of a member that was added -> name
        self.next_member = None  # the name of the next one

    def header(self, message):
        if not message.HasField("header"):
            return
        h = message.header
        if h.raft_term:
            h.raft_term = 1
        pair = (h.cluster_id, h.member_id)
        if pair == (0, 0):
            return
        if self.ids is None:
            self.ids = pair
        if pair == self.ids:
            h.cluster_id, h.member_id = 1, 1

    def key_value(self, k):
        if k.lease in self.lease_names:
            k.lease = self.lease_names[k.lease]

    def range(self, request, response):
        self.header(response)
        for k in response.kvs:
            self.key_value(k)
        by = RANGE_ORDER.get(request.sort_target)
        if by is None or request.sort_target == rpc.RangeRequest.KEY or not response.kvs:
            return
        filters = (request.min_mod_revision or request.max_mod_revision or request.min_create_revision
                   or request.max_create_revision)
        cut = response.more and (request.sort_order != rpc.RangeRequest.NONE or filters)
        kvs = list(response.kvs)
        if request.keys_only and request.sort_target == rpc.RangeRequest.VALUE:
            # Sorted by what is not in the answer: only the set can be compared, and its size if it was cut.
            kvs = [kv.KeyValue(version=len(kvs))] if cut else sorted(kvs, key=lambda k: k.key)
        else:
            groups = []
            for k in kvs:
                if groups and by(groups[-1][0]) == by(k):
                    groups[-1].append(k)
                else:
                    groups.append([k])
            for group in groups:
                group.sort(key=lambda k: k.key)
            if cut:  # which of the last equal ones made it is open
                last = groups[-1]
                groups[-1] = [kv.KeyValue(value=repr(by(last[0])).encode(), version=len(last))]
            kvs = [k for group in groups for k in group]
        copies = []
        for k in kvs:
            c = kv.KeyValue()
            c.CopyFrom(k)
            copies.append(c)
        del response.kvs[:]
        response.kvs.extend(copies)

    def txn(self, request, response):
        self.header(response)
        branch = request.success if response.succeeded else request.failure
        for i, op in enumerate(response.responses):
            asked = branch[i] if i < len(branch) else rpc.RequestOp()
            which = op.WhichOneof("response")
            if which == "response_range":
                self.range(asked.request_range, op.response_range)
            elif which == "response_put":
                self.put(None, op.response_put)
            elif which == "response_delete_range":
                self.delete_range(None, op.response_delete_range)
            elif which == "response_txn":
                self.txn(asked.request_txn, op.response_txn)

    def put(self, _, response):
        self.header(response)
        if response.HasField("prev_kv"):
            self.key_value(response.prev_kv)

    def delete_range(self, _, response):
        self.header(response)
        for k in response.prev_kvs:
            self.key_value(k)

    def plain(self, _, response):
        self.header(response)

    def lease_id(self, _, response):
        self.header(response)
        response.ID = self.lease_names.get(response.ID, response.ID)

    def grant(self, request, response):
        """An id that the server chose gets a name: the n-th chosen one is the same lease on both."""
        if request.ID == 0 and response.ID not in self.lease_names:
            self.lease_names[response.ID] = 2 ** 40 + len(self.lease_names)
        self.lease_id(request, response)

    def time_to_live(self, request, response):
        self.lease_id(request, response)
        keys = sorted(response.keys)
        del response.keys[:]
        response.keys.extend(keys)
        if response.TTL > 0:  # granted and remaining differ by what the test took; tests use TTLs far above that
            response.TTL = -2 if response.grantedTTL - 600 <= response.TTL <= response.grantedTTL else -3

    def leases(self, _, response):
        self.header(response)
        for lease in response.leases:
            lease.ID = self.lease_names.get(lease.ID, lease.ID)

    def status(self, _, response):
        self.header(response)
        if response.leader == self.ids[1]:
            response.leader = 1
        for field in ("dbSize", "dbSizeInUse", "raftIndex", "raftAppliedIndex", "raftTerm"):
            setattr(response, field, 1 if getattr(response, field) > 0 else 0)

    def member(self, m):
        """Its id becomes a number that is made of its name."""
        if m.ID == self.ids[1]:
            m.ID = 1
        elif m.ID in self.member_names:
            m.ID = 2 + int.from_bytes(self.member_names[m.ID].encode(), "big") % 2 ** 60

    def members(self, _, response):
        self.header(response)
        ids = [m.ID for m in response.members]
        if ids != sorted(ids):
            response.members.add(name="not sorted by id")
        for m in response.members:
            self.member(m)
        members = sorted(response.members, key=lambda m: m.ID)
        del response.members[:]
        response.members.extend(members)

    def member_add(self, request, response):
        self.member_names[response.member.ID] = self.next_member
        self.member(response.member)
        self.members(request, response)

    def hash(self, _, response):
        """Each server has its own sum: only that there is one can be compared."""
        self.header(response)
        response.hash = 1


METHODS = {
    # method: (request, response, how it is made canonical)
    "etcdserverpb.KV/Range": (rpc.RangeRequest, rpc.RangeResponse, Canon.range),
    "etcdserverpb.KV/RangeStream": (rpc.RangeRequest, rpc.RangeResponse, Canon.range),
    "etcdserverpb.KV/Put": (rpc.PutRequest, rpc.PutResponse, Canon.put),
    "etcdserverpb.KV/DeleteRange": (rpc.DeleteRangeRequest, rpc.DeleteRangeResponse, Canon.delete_range),
    "etcdserverpb.KV/Txn": (rpc.TxnRequest, rpc.TxnResponse, Canon.txn),
    "etcdserverpb.KV/Compact": (rpc.CompactionRequest, rpc.CompactionResponse, Canon.plain),
    "etcdserverpb.Lease/LeaseGrant": (rpc.LeaseGrantRequest, rpc.LeaseGrantResponse, Canon.grant),
    "etcdserverpb.Lease/LeaseRevoke": (rpc.LeaseRevokeRequest, rpc.LeaseRevokeResponse, Canon.plain),
    "etcdserverpb.Lease/LeaseTimeToLive": (rpc.LeaseTimeToLiveRequest, rpc.LeaseTimeToLiveResponse,
                                           Canon.time_to_live),
    "etcdserverpb.Lease/LeaseLeases": (rpc.LeaseLeasesRequest, rpc.LeaseLeasesResponse, Canon.leases),
    "etcdserverpb.Lease/LeaseKeepAlive": (rpc.LeaseKeepAliveRequest, rpc.LeaseKeepAliveResponse, Canon.lease_id),
    "etcdserverpb.Cluster/MemberList": (rpc.MemberListRequest, rpc.MemberListResponse, Canon.members),
    "etcdserverpb.Cluster/MemberAdd": (rpc.MemberAddRequest, rpc.MemberAddResponse, Canon.member_add),
    "etcdserverpb.Cluster/MemberRemove": (rpc.MemberRemoveRequest, rpc.MemberRemoveResponse, Canon.members),
    "etcdserverpb.Cluster/MemberUpdate": (rpc.MemberUpdateRequest, rpc.MemberUpdateResponse, Canon.members),
    "etcdserverpb.Cluster/MemberPromote": (rpc.MemberPromoteRequest, rpc.MemberPromoteResponse, Canon.members),
    "etcdserverpb.Maintenance/MoveLeader": (rpc.MoveLeaderRequest, rpc.MoveLeaderResponse, Canon.plain),
    "etcdserverpb.Maintenance/Hash": (rpc.HashRequest, rpc.HashResponse, Canon.hash),
    "etcdserverpb.Maintenance/HashKV": (rpc.HashKVRequest, rpc.HashKVResponse, Canon.hash),
    "etcdserverpb.Maintenance/Alarm": (rpc.AlarmRequest, rpc.AlarmResponse, Canon.plain),
    "etcdserverpb.Maintenance/Status": (rpc.StatusRequest, rpc.StatusResponse, Canon.status),
}
