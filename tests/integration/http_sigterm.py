#!/usr/bin/python3
"""curl against the HTTP side, and a process manager's SIGTERM.

    http_sigterm.py --server build/release/quorald [--part http|sigterm]
"""

import re
import shutil
import subprocess
import sys
import time

import support
from load import Ledger, Load

CHECKS = [0]


def check(condition, text):
    CHECKS[0] += 1
    if not condition:
        support.fail(text)


def equal(got, expected, text):
    check(got == expected, "%s: got %r, expected %r" % (text, got, expected))


# ---- curl ----

HEADERS = ("content-type", "allow", "x-content-type-options")
PATHS = [
    ("GET", "/health"), ("GET", "/health?serializable=true"), ("GET", "/health?exclude=NOSPACE&exclude=CORRUPT"),
    ("POST", "/health"), ("HEAD", "/health"), ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/livez?verbose"),
    ("GET", "/readyz?verbose"), ("GET", "/readyz?verbose&exclude=linearizable_read"), ("GET", "/livez?exclude=unknown"),
    ("GET", "/livez/serializable_read"), ("GET", "/readyz/data_corruption"), ("GET", "/readyz/serializable_read"),
    ("GET", "/readyz/linearizable_read"), ("GET", "/readyz/non_learner"), ("GET", "/readyz/nothing"),
    ("POST", "/livez"), ("GET", "/version"), ("POST", "/version"), ("GET", "/nothing"), ("GET", "/"),
    ("GET", "/healthy"), ("GET", "/health/"),
]
METRICS = """etcd_server_has_leader etcd_server_is_leader etcd_server_is_learner etcd_server_id etcd_server_version
etcd_cluster_version etcd_server_leader_changes_seen_total etcd_server_proposals_committed_total
etcd_server_proposals_applied_total etcd_server_proposals_pending etcd_server_proposals_failed_total
etcd_disk_wal_fsync_duration_seconds_bucket etcd_disk_wal_fsync_duration_seconds_count
etcd_disk_backend_commit_duration_seconds_bucket etcd_mvcc_db_total_size_in_bytes
etcd_mvcc_db_total_size_in_use_in_bytes etcd_mvcc_range_total etcd_mvcc_put_total etcd_mvcc_delete_total
etcd_mvcc_txn_total etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_current_revision
etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_watcher_total etcd_debugging_mvcc_watch_stream_total
etcd_debugging_mvcc_slow_watcher_total etcd_debugging_mvcc_events_total etcd_debugging_lease_granted_total
etcd_debugging_lease_revoked_total etcd_network_client_grpc_sent_bytes_total
etcd_network_client_grpc_received_bytes_total grpc_server_started_total grpc_server_handled_total
grpc_server_msg_received_total grpc_server_msg_sent_total process_resident_memory_bytes
process_virtual_memory_bytes process_cpu_seconds_total process_open_fds process_max_fds process_start_time_seconds
""".split()
# Counted alike: the same requests give the same numbers.
SAME_VALUE = """etcd_server_has_leader etcd_server_is_leader etcd_server_is_learner etcd_cluster_version
etcd_server_version etcd_server_proposals_failed_total etcd_server_proposals_pending etcd_mvcc_put_total
etcd_mvcc_delete_total etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_current_revision
etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_watcher_total
etcd_debugging_lease_granted_total""".split()


def curl(server, method, path):
    """(status, chosen headers, body)."""
    command = ["curl", "-s", "-i", "--max-time", "10", "--http1.1"]
    command += ["-I"] if method == "HEAD" else ["-X", method]
    out = subprocess.run(command + [server.url + path], stdout=subprocess.PIPE, check=True).stdout
    head, _, body = out.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict((n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines[1:]))
    return (int(lines[0].split()[1]), {h: headers[h] for h in HEADERS if h in headers},
            "\n".join(sorted(body.decode().split("\n"))) if "verbose" in path else body.decode())


def metrics(server):
    """{name: {labels: value}}"""
    found = {}
    status, headers, body = curl(server, "GET", "/metrics")
    equal(status, 200, "/metrics")
    check(headers["content-type"].startswith("text/plain; version=0.0.4"), "/metrics: %s" % headers)
    for line in body.splitlines():
        if line and not line.startswith("#"):
            m = re.match(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$", line)
            check(m is not None, "/metrics: not a sample: %r" % line)
            found.setdefault(m.group(1), {})[m.group(2) or ""] = float(m.group(3))
    return found


def some_requests(server):
    calls = support.Calls(server.target)
    rpc, _ = support.load_messages()
    for i in range(10):
        calls.unary("etcdserverpb.KV/Put")(rpc.PutRequest(key=b"%d" % i).SerializeToString())
    calls.unary("etcdserverpb.KV/DeleteRange")(rpc.DeleteRangeRequest(key=b"1").SerializeToString())
    calls.unary("etcdserverpb.KV/Range")(rpc.RangeRequest(key=b"2").SerializeToString())
    try:
        calls.unary("etcdserverpb.KV/Range")(rpc.RangeRequest(key=b"").SerializeToString())
    except calls.grpc.RpcError:
        pass
    calls.unary("etcdserverpb.Lease/LeaseGrant")(rpc.LeaseGrantRequest(TTL=1000, ID=7).SerializeToString())
    calls.unary("etcdserverpb.KV/Compact")(rpc.CompactionRequest(revision=5).SerializeToString())
    calls.close()


def part_http(server, options):
    version, etcd, _ = support.reference()
    directory = support.scratch("http", in_memory=True)
    reference = support.Server(etcd, directory + "/data", label="reference").start()
    differences = []
    try:
        if version.startswith("3.4"):
            print("reference is 3.4: /livez, /readyz and metrics are not compared")
        for method, path in PATHS:
            if version.startswith("3.4") and not path.startswith(("/version", "/nothing")):
                continue
            expected, got = curl(reference, method, path), curl(server, method, path)
            CHECKS[0] += 1
            if expected != got:
                differences.append("%s %s\n  reference %s\n  server    %s" % (method, path, expected, got))
        for s in (reference, server):
            some_requests(s)
        ours, theirs = metrics(server), metrics(reference)
        for name in METRICS:
            CHECKS[0] += 1
            if name not in ours:
                differences.append("/metrics: %s is missing (reference %s)" % (name, theirs.get(name)))
        for name in SAME_VALUE:
            CHECKS[0] += 1
            if ours.get(name) != theirs.get(name) and not version.startswith("3.4"):
                differences.append("/metrics: %s is %s, reference %s" % (name, ours.get(name), theirs.get(name)))
        handled = "grpc_server_handled_total"
        for labels in theirs[handled]:
            CHECKS[0] += 1
            if '"etcdserverpb.KV"' in labels and ours.get(handled, {}).get(labels) != theirs[handled][labels]:
                differences.append("/metrics: %s%s is %s, reference %s" % (
                    handled, labels, ours.get(handled, {}).get(labels), theirs[handled][labels]))
    finally:
        reference.stop()
        shutil.rmtree(directory)
    for d in differences:
        print("--- " + d)
    check(not differences, "%d differences on the HTTP side" % len(differences))


# ---- SIGTERM ----


def part_sigterm(server, options):
    """Under load, ten times: exit code 0 within a second (--seconds), and everything acknowledged is there afterwards."""
    ledger = Ledger()
    slowest = 0.0
    for number in range(10):
        load = Load(server.client_port, "t%d" % number, number).start()
        end = time.monotonic() + 20
        while load.acked() < 500 and time.monotonic() < end:
            time.sleep(0.002)
        check(load.acked() >= 500, "no load before SIGTERM: %d" % load.acked())
        code, took = server.terminate(max(10.0, options.seconds))
        slowest = max(slowest, took)
        load.join()
        if not options.any_exit_code:
            equal(code, 0, "exit code after SIGTERM (log: %s)" % server.tail(3))
        check(took < options.seconds or options.any_exit_code, "SIGTERM took %.2f s" % took)
        equal(server.log_fatal() if not options.any_exit_code else [], [], "errors in the log after SIGTERM")
        server.start()
        ledger.check(server.target, load)
    support.count("SIGTERM: 10 times under load, slowest %.3f s, all %d acknowledged writes there" % (
        slowest, ledger.checked))
    code, took = server.terminate()
    if not options.any_exit_code:
        equal(code, 0, "exit code when idle")
    server.start()


PARTS = {"http": part_http, "sigterm": part_sigterm}


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--part", choices=sorted(PARTS), action="append")
    parser.add_argument("--seconds", type=float, default=1.0, help="until the end after SIGTERM; more under valgrind")
    parser.add_argument("--any-exit-code", action="store_true", help="for etcd, which ends by the signal itself")
    options = support.parse(parser)
    for part in options.part or sorted(PARTS):
        directory = support.scratch("strangers")
        server = support.Server(options.server, directory + "/data").start()
        before = CHECKS[0]
        try:
            PARTS[part](server, options)
            check(server.alive(), "the server ended:\n" + server.tail())
        finally:
            server.stop()
            shutil.rmtree(directory)
        support.count("%s: %d checks passed" % (part, CHECKS[0] - before))
    sys.exit(0)


if __name__ == "__main__":
    main()
