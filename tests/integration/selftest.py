#!/usr/bin/python3
"""The tests' own test: each of these lies must be caught. Everything runs against the reference, which does not lie;
the lie is told between it and the checker.

    selftest.py
"""

import random
import shutil
import sys

import diff_pair
import diff_watch
import load
import support
from diff_canon import rpc
from diff_pair import Answer, Diverged, Pair
from differential import run_script, wait_for_storage_version
from load import Ledger, Load
from selftest_history import check_gaps, check_orders


class Caught(Exception):
    pass


def catch(text):
    raise Caught(text)


# ---- the ledger of the crash tests: what the load remembers is changed, as if the server had done otherwise ----


def plain_puts(w):
    return [i for i, (_, events) in enumerate(w.acked) if len(events) == 1 and events[0][0] == 0]


def lie_revision(w, rng):
    i = rng.choice(plain_puts(w)[:-1])
    w.acked[i] = (w.acked[i][0] + 100000, w.acked[i][1])


def lie_swapped(w, rng):
    i, j = rng.sample(plain_puts(w), 2)
    (r, a), (s, b) = w.acked[i], w.acked[j]
    w.acked[i], w.acked[j] = (s, a), (r, b)


def lie_value(w, rng):
    i = rng.choice(plain_puts(w))
    kind, key, value = w.acked[i][1][0]
    w.acked[i] = (w.acked[i][0], [(kind, key, value + b"x")])


def lie_twice(w, rng):
    i = rng.choice(plain_puts(w))
    w.acked.append(w.acked[i])


def lie_lost(w, _):
    w.acked.append((w.acked[-1][0] + 10 ** 6, [(0, b"lost", b"")]))


def lie_never_sent(w, rng):
    del w.acked[rng.randrange(len(w.acked))]


def lie_half_txn(w, rng):
    i = rng.choice([i for i, (_, events) in enumerate(w.acked) if len(events) == 3])
    w.acked[i] = (w.acked[i][0], w.acked[i][1] + [(0, b"the fourth", b"")])


def lie_old_revision(w, rng):
    i = rng.randrange(len(w.acked))
    w.acked[i] = (1, w.acked[i][1])


def lie_delete(w, rng):
    i = rng.choice([i for i, (_, events) in enumerate(w.acked) if events[0][0] == 1])
    w.acked[i] = (w.acked[i][0], [(0, w.acked[i][1][0][1], b"")])


LEDGER_LIES = [lie_revision, lie_swapped, lie_value, lie_twice, lie_lost, lie_never_sent, lie_half_txn, lie_old_revision,
               lie_delete]


def check_ledger(etcd, rng):
    load.fail = catch
    caught = 0
    for lie in [None] + LEDGER_LIES:
        directory = support.scratch("selftest", in_memory=True)
        server = support.Server(etcd, directory + "/data").start()
        try:
            work = Load(server.client_port, "s", 1, writers=1).start()
            while work.acked() < 600:
                pass
            work.stop()
            work.join()
            if lie:
                lie(work.writers[0], rng)
            try:
                Ledger().check(server.target, work)
                if lie:
                    support.fail("the ledger does not see %s" % lie.__name__)
            except Caught as e:
                if not lie:
                    support.fail("the ledger sees what is not there: %s" % e)
                caught += 1
        finally:
            server.stop()
            shutil.rmtree(directory)
    return caught


# ---- the comparison: one answer of the second server is changed on its way ----


def decoded(kind):
    def change(function):
        def lie(answer):
            m = kind.FromString(answer.data)
            return Answer("OK", "", m.SerializeToString()) if function(m) else None
        lie.__name__ = function.__name__
        return lie
    return change


@decoded(rpc.RangeResponse)
def drop_a_record(m):
    if not m.kvs:
        return False
    del m.kvs[0]
    return True


@decoded(rpc.RangeResponse)
def change_a_value(m):
    if not m.kvs or not m.kvs[-1].value:
        return False
    m.kvs[-1].value += b"x"
    return True


@decoded(rpc.RangeResponse)
def swap_two_records(m):
    if len(m.kvs) < 2 or m.kvs[0].mod_revision == m.kvs[1].mod_revision:
        return False
    a, b = rpc.RangeResponse.FromString(m.SerializeToString()).kvs[:2]
    m.kvs[0].CopyFrom(b)
    m.kvs[1].CopyFrom(a)
    return True


@decoded(rpc.RangeResponse)
def change_the_count(m):
    m.count += 1
    return True


@decoded(rpc.RangeResponse)
def flip_more(m):
    m.more = not m.more
    return True


@decoded(rpc.RangeResponse)
def change_the_header(m):
    m.header.revision -= 1
    return True


@decoded(rpc.RangeResponse)
def another_member(m):
    m.header.member_id += 1
    return True


def another_text(answer):
    return Answer(answer.code, answer.text + ".", b"") if not answer.ok else None


def another_code(answer):
    return Answer("UNKNOWN", answer.text, b"") if not answer.ok else None


ANSWER_LIES = [drop_a_record, change_a_value, swap_two_records, change_the_count, flip_more, change_the_header,
               another_member, another_text, another_code]


def run_pair(etcd, ops, prepare):
    """A short script on two reference servers after prepare(pair); returns the number of differences."""
    directory = support.scratch("selftest", in_memory=True)
    servers = [support.Server(etcd, directory + "/a"), support.Server(etcd, directory + "/b")]
    pair = None
    try:
        for s in servers:
            s.start(wait=False)
        for s in servers:
            s.wait_ready(30)
        pair = Pair(servers[0].target, servers[1].target, 1, 1)
        for calls in (pair.a, pair.b):
            wait_for_storage_version(calls)
        prepare(pair)
        try:
            run_script(pair, 1, ops, False)
        except Diverged:
            pass
        return pair.differences
    finally:
        if pair:
            pair.close()
        for s in servers:
            s.stop()
        shutil.rmtree(directory)


def check_answers(etcd):
    caught = 0
    for lie in ANSWER_LIES:
        told = [0]

        def prepare(pair, lie=lie, told=told):
            original = pair.compare

            def compare(method, request, a, b):
                wanted = not b.ok if lie in (another_text, another_code) else \
                    b.ok and method == "etcdserverpb.KV/Range" and pair.ops > 300
                if wanted and not told[0]:
                    changed = lie(b)
                    if changed:
                        told[0] = 1
                        b = changed
                return original(method, request, a, b)

            pair.compare = compare

        found = run_pair(etcd, 1500, prepare)
        if not told[0] or not found:
            support.fail("the comparison does not see %s (told %d)" % (lie.__name__, told[0]))
        caught += 1
    return caught


# ---- watches: one response of the second server is changed on its way ----


def lose_an_event(m):
    del m.events[0]


def double_an_event(m):
    m.events.add().CopyFrom(m.events[-1])


def change_an_event(m):
    m.events[0].kv.value += b"x"


def header_too_small(m):
    m.header.revision = m.events[-1].kv.mod_revision - 1


def put_is_delete(m):
    m.events[0].type = 1 - m.events[0].type


def wrong_watcher(m):
    m.watch_id += 1000


def marked_as_fragment(m):
    m.fragment = True


WATCH_LIES = [lose_an_event, double_an_event, change_an_event, header_too_small, put_is_delete, wrong_watcher,
              marked_as_fragment]


def check_watches(etcd):
    diff_watch.PATIENCE = 2.0
    original = diff_watch.WatchStream.take
    caught = 0
    for lie in WATCH_LIES:
        told = [0]

        def take(self, m, lie=lie, told=told):
            # The second server's streams come second; the recorder is the first of all.
            if self.canon is take.victim and m.events and not told[0] and \
                    (lie is not marked_as_fragment or m.watch_id not in self.may_fragment):
                told[0] = 1
                lie(m)
            original(self, m)

        def prepare(pair, take=take):
            take.victim = pair.canon_b

        diff_watch.WatchStream.take = take
        try:
            found = run_pair(etcd, 1500, prepare)
        finally:
            diff_watch.WatchStream.take = original
        if not told[0] or not found:
            support.fail("the comparison does not see %s (told %d)" % (lie.__name__, told[0]))
        caught += 1
    return caught


def main():
    _, etcd, _ = support.reference()
    rng = random.Random(1)
    say = diff_pair.Pair.differ

    def quietly(self, *_):
        self.differences += 1
        raise Diverged("caught")

    diff_pair.Pair.differ = quietly
    try:
        answers, watches = check_answers(etcd), check_watches(etcd)
    finally:
        diff_pair.Pair.differ = say
    ledger = check_ledger(etcd, rng)
    orders, gaps = check_orders(rng), check_gaps()
    support.count("lies caught: %d in answers, %d in watches, %d in the ledger, %d in the order of a cluster's history, "
                  "%d in its watches" % (answers, watches, ledger, orders, gaps))
    sys.exit(0)


if __name__ == "__main__":
    main()
