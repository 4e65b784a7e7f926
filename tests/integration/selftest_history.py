"""The self-test of cluster_history.py: a history that keeps to the rules, and lies about it. See selftest.py."""

import support
from cluster_history import NEVER, Read, Watcher, check_order
from cluster_load import Member, rpc

KEYS = 8
STEPS = 400


class Story:
    """Clients of one true store: writes and reads whose times overlap."""

    def __init__(self, rng):
        self.history = []
        self.writes = {}
        self.reads = []
        state = {}
        for step in range(STEPS):
            moment = float(step)  # it happens now; its client began before and hears of it later
            begin, end = moment - rng.random() * 3, moment + rng.random() * 3
            revision = len(self.history) + 1
            if rng.random() < 0.5:
                key = b"w/hot%d" % rng.randrange(KEYS)
                revision += 1
                if key in state and rng.random() < 0.2:
                    del state[key]
                    self.history.append((revision, [(1, key, b"")]))
                else:
                    state[key] = (b"%d" % step, revision)
                    self.history.append((revision, [(0, key, b"%d" % step)]))
                if rng.random() < 0.9:
                    self.writes[revision] = (begin, end if rng.random() < 0.9 else NEVER)
            else:
                self.reads.append(Read(begin, end, revision, True, b"w/hot", dict(state), "m"))
                old = rng.choice(self.reads)
                self.reads.append(old._replace(begin=begin, end=end, linearizable=False))

    def check(self):
        return check_order(self.history, self.writes, self.reads)

    def some_read(self, rng, linearizable=True):
        """A number; it is not one of the first revisions that is read."""
        return rng.choice([i for i, r in enumerate(self.reads)
                           if r.linearizable == linearizable and r.revision > STEPS // 8])


def lie_stale_read(story, rng):
    old = next(r for r in story.reads if r.linearizable and r.kvs)
    i = story.some_read(rng)
    story.reads[i] = old._replace(begin=story.reads[i].begin, end=story.reads[i].end)


def lie_reads_go_back(story, rng):
    """No write between them has an answer."""
    story.writes.clear()
    lie_stale_read(story, rng)


def lie_read_of_the_future(story, rng):
    i = story.some_read(rng, rng.random() < 0.5)
    story.reads[i] = story.reads[i]._replace(begin=-20.0, end=-10.0)


def lie_value(story, rng):
    i = story.some_read(rng, rng.random() < 0.5)
    key = next(iter(story.reads[i].kvs))
    story.reads[i].kvs[key] = (b"another", story.reads[i].kvs[key][1])


def lie_revision_of_a_key(story, rng):
    i = story.some_read(rng)
    key = next(iter(story.reads[i].kvs))
    story.reads[i].kvs[key] = (story.reads[i].kvs[key][0], story.reads[i].kvs[key][1] - 1)


def lie_missing_key(story, rng):
    kvs = story.reads[story.some_read(rng)].kvs
    del kvs[next(iter(kvs))]


def lie_deleted_key(story, rng):
    story.reads[story.some_read(rng)].kvs[b"w/hot99"] = (b"x", 2)


def lie_write_before_its_time(story, rng):
    revision = rng.choice([r for r, (_, end) in story.writes.items() if end != NEVER and r > 100])
    story.writes[revision] = (-20.0, -10.0)


def lie_unanswered_write_too_early(story, _):
    """It is in the history at the beginning, and its client began at the end."""
    story.writes[5] = (STEPS - 1.0, NEVER)


def lie_beyond_the_end(story, rng):
    i = story.some_read(rng)
    story.reads[i] = story.reads[i]._replace(revision=len(story.history) + 2)


ORDER_LIES = [lie_stale_read, lie_reads_go_back, lie_read_of_the_future, lie_value, lie_revision_of_a_key,
              lie_missing_key, lie_deleted_key, lie_write_before_its_time, lie_unanswered_write_too_early,
              lie_beyond_the_end]


def check_orders(rng):
    for _ in range(20):
        problem = Story(rng).check()
        if problem:
            support.fail("the order is as it should be, but: " + problem)
        for lie in ORDER_LIES:
            story = Story(rng)
            lie(story, rng)
            if not story.check():
                support.fail("the check of the order does not see %s" % lie.__name__)
    return len(ORDER_LIES)


# Revisions of the events of two responses, and whether a watch from revision 2 on may bring them.
WATCHES = [
    ([[2, 2, 3], [4]], True),
    ([[], [2]], True),
    ([[3], [4]], False),  # the first one is missing
    ([[2], [4]], False),  # one is missing between the responses
    ([[2, 4], [5]], False),  # and within one
    ([[2, 3], [3]], False),  # twice, or a revision in two parts
    ([[2, 3, 2], [4]], False),
]


def check_gaps():
    for responses, right in WATCHES:
        watcher = Watcher(Member("m", 1))
        for revisions in responses:
            message = rpc.WatchResponse()
            for revision in revisions:
                message.events.add().kv.mod_revision = revision
            if not watcher.take(message):
                break
        if (watcher.error is None) != right:
            support.fail("a watch with the revisions %s: %s" % (responses, watcher.error))
    return sum(not right for _, right in WATCHES)
