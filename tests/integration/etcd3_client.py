#!/usr/bin/python3
"""python3-etcd3, as it comes with Debian: put, get, transactions, watch, leases, locks.

    etcd3_client.py --server build/release/quorald

A program of its own, since that library brings its own copy of the API's messages.
"""

import os
import shutil
import sys
import threading
import time

import support

CHECKS = [0]


def check(condition, text):
    CHECKS[0] += 1
    if not condition:
        support.fail(text)


def equal(got, expected, text):
    check(got == expected, "%s: got %r, expected %r" % (text, got, expected))


def etcd3_client(server):
    try:
        import etcd3  # pylint: disable=import-outside-toplevel
    except ImportError:
        support.fail("python3-etcd3 is missing: apt-get install python3-etcd3")
    return etcd3, etcd3.client(host="127.0.0.1", port=server.client_port, timeout=10)


def etcd3_kv(etcd3, client):
    client.put("a", "1")
    value, meta = client.get("a")
    equal((value, meta.key, meta.version), (b"1", b"a", 1), "get")
    client.put("a", "2")
    equal(client.get("a")[1].version, 2, "version")
    equal(client.get("none"), (None, None), "get of nothing")
    for i in range(20):
        client.put("p/%02d" % i, str(i))
    found = [(m.key, v) for v, m in client.get_prefix("p/")]
    equal(found, [(b"p/%02d" % i, b"%d" % i) for i in range(20)], "get_prefix")
    found = [m.key for _, m in client.get_prefix("p/", sort_order="descend", sort_target="key")]
    equal(found, [b"p/%02d" % i for i in reversed(range(20))], "get_prefix descending")
    equal(len(list(client.get_range("p/05", "p/10"))), 5, "get_range")
    equal(len(list(client.get_all())), 21, "get_all")
    equal(client.put("a", "3", prev_kv=True).prev_kv.value, b"2", "prev_kv")
    equal(client.delete("a"), True, "delete")
    equal(client.delete("a"), False, "delete of nothing")
    equal(client.delete_prefix("p/").deleted, 20, "delete_prefix")
    equal(client.put_if_not_exists("once", "1"), True, "put_if_not_exists")
    equal(client.put_if_not_exists("once", "2"), False, "put_if_not_exists again")
    equal(client.replace("once", "1", "2"), True, "replace")
    equal(client.replace("once", "1", "3"), False, "replace of another value")
    client.put(b"bytes\x00\xff", b"\x00\xff")
    equal(client.get(b"bytes\x00\xff")[0], b"\x00\xff", "bytes")


def etcd3_txn(etcd3, client):
    t = client.transactions
    ok, answers = client.transaction(
        compare=[t.version("t") == 0, t.create("t") == 0, t.mod("t") < 1],
        success=[t.put("t", "1"), t.get("t")], failure=[t.get("t")])
    equal((ok, answers[1][0][0]), (True, b"1"), "txn, then")
    ok, answers = client.transaction(
        compare=[t.value("t") == "x"], success=[t.delete("t")],
        failure=[t.get("t"), t.delete("t"), t.get("t")])
    equal((ok, answers[0][0][0], answers[2]), (False, b"1", []), "txn, else")
    ok, _ = client.transaction(compare=[t.value("t") > "0"], success=[], failure=[])
    equal(ok, False, "compare of a missing value")
    try:
        client.transaction(compare=[], success=[t.put("t", "1"), t.put("t", "2")], failure=[])
        support.fail("a duplicate key in a transaction is accepted")
    except Exception as e:  # pylint: disable=broad-except
        check("duplicate key" in str(e), "duplicate key: %r" % e)


def etcd3_watch(etcd3, client):
    events, cancel = client.watch_prefix("w/")
    for i in range(10):
        client.put("w/%d" % i, str(i))
    client.delete("w/3")
    got = [next(events) for _ in range(11)]
    equal([(type(e).__name__, e.key) for e in got],
          [("PutEvent", b"w/%d" % i) for i in range(10)] + [("DeleteEvent", b"w/3")], "watch")
    cancel()
    revision = got[0].mod_revision
    events, cancel = client.watch_prefix("w/", start_revision=revision, prev_kv=True)
    again = [next(events) for _ in range(11)]
    equal([e.mod_revision for e in again], list(range(revision, revision + 11)), "watch from an old revision")
    equal(again[10].prev_value, b"3", "prev_kv")
    cancel()
    seen = threading.Event()
    watch_id = client.add_watch_callback("callback", lambda response: seen.set())
    client.put("callback", "x")
    check(seen.wait(5), "a watch callback is not called")
    client.cancel_watch(watch_id)
    client.compact(revision + 2)
    try:
        events, cancel = client.watch_prefix("w/", start_revision=revision)
        next(events)
        support.fail("a watch below the compacted revision delivers")
    except etcd3.exceptions.RevisionCompactedError as e:
        equal(e.compacted_revision, revision + 2, "compacted revision")


def etcd3_lease(etcd3, client):
    lease = client.lease(100)
    check(lease.granted_ttl == 100 and 98 <= lease.remaining_ttl <= 100, "lease TTLs")
    client.put("leased/1", "x", lease=lease)
    client.put("leased/2", "x", lease=lease)
    equal(sorted(lease.keys), [b"leased/1", b"leased/2"], "keys of a lease")
    equal(list(lease.refresh())[0].TTL, 100, "refresh")
    lease.revoke()
    equal(list(client.get_prefix("leased/")), [], "keys of a revoked lease")
    short = client.lease(2)
    begin = time.monotonic()
    client.put("short", "x", lease=short)
    while client.get("short")[0] is not None and time.monotonic() - begin < 10:
        time.sleep(0.05)
    took = time.monotonic() - begin
    check(1.9 <= took <= 5.0, "a lease of 2 s ended after %.2f s" % took)


def mend_lock(etcd3):
    """Debian's python3-etcd3 0.12 and python3-tenacity 8.2 do not fit: waiting for a held lock ends with a TypeError,
    because tenacity now calls the wait function with one argument."""
    original = etcd3.locks.tenacity.retry

    def retry(**options):
        wait = options["wait"]
        options["wait"] = lambda state: wait(state.attempt_number, state.seconds_since_start or 0)
        return original(**options)

    etcd3.locks.tenacity.retry = retry


def etcd3_lock(etcd3, client):
    mend_lock(etcd3)
    with client.lock("door", ttl=20) as lock:
        check(lock.is_acquired(), "lock")
        other = client.lock("door", ttl=20)
        check(not other.acquire(timeout=0.3), "a held lock is acquired a second time")
    check(other.acquire(timeout=5), "a released lock cannot be acquired")
    other.release()
    order, holders = [], []

    def contend(number):
        with client.lock("contended", ttl=20):
            holders.append(number)
            if len(holders) > 1:
                order.append("two holders: %s" % holders)
            time.sleep(0.01)
            holders.remove(number)
            order.append(number)

    threads = [threading.Thread(target=contend, args=(i,)) for i in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    equal(sorted(map(str, order)), [str(i) for i in range(5)], "five threads with one lock")


def etcd3_rest(etcd3, client):
    members = list(client.members)
    equal((len(members), members[0].name), (1, "default"), "members")
    status = client.status()
    check(status.version.startswith("3.") and status.leader.id == members[0].id and status.db_size > 0, "status")


def main():
    options = support.parse(support.arguments(__doc__.splitlines()[0]))
    directory = support.scratch("etcd3", in_memory=True)
    server = support.Server(options.server, directory + "/data").start()
    try:
        etcd3, client = etcd3_client(server)
        for function in (etcd3_kv, etcd3_txn, etcd3_watch, etcd3_lease, etcd3_lock, etcd3_rest):
            before = CHECKS[0]
            function(etcd3, client)
            print("%s: %d checks passed" % (function.__name__, CHECKS[0] - before), flush=True)
        support.count("python3-etcd3: %d checks passed" % CHECKS[0])
        check(server.alive(), "the server ended:\n" + server.tail())
    finally:
        server.stop()
        shutil.rmtree(directory)
    sys.stdout.flush()
    os._exit(0)  # the library's watch thread would complain about the end of its server


if __name__ == "__main__":
    main()
