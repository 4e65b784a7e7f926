"""What is searched: bounds, rules that are switched off, states that must be reachable. check.py runs them.

Bounds in fence.pml: t terms, l log entries, c crashes; in conf.pml t, l, and the mask of the first configuration.
"""
import typing


class Case(typing.NamedTuple):
    name: str
    kind: str            # safe: no error, all states; bite, goal: Spin must find `finds`; hunt: part of a larger space
    defines: str         # of the model, without -D
    note: str
    finds: str = ""      # the assertion that must fail
    full: bool = False   # only with --full
    options: str = ""    # for the generated program
    optimize: str = "-O0"
    slots: int = 24      # log2 of the hash table's size

    @property
    def group(self):
        return self.name.split("/")[0]

    @property
    def model(self):
        return "conf.pml" if "START=" in self.defines else "fence.pml"


def safe(name, defines, note, optimize="-O3", **more):
    return Case("fence/" + name, "safe", defines, note, optimize=optimize, **more)


def conf(name, defines, note, **more):
    return Case("conf/" + name, "safe", defines, note, optimize="-O1", **more)


def off(name, defines, finds, note, **more):
    return Case("rules/" + name, "bite", defines, note, finds, **more)


def reach(name, defines, note, **more):
    return Case("reach/" + name, "goal", defines, note, "GOAL", **more)


def hunt(name, defines, note):
    return Case("hunt/" + name, "hunt", defines, note, full=True, optimize="-O1")


def bounds(t, l, c):
    return " MAXT=%d MAXL=%d MAXCRASH=%d" % (t, l, c)


def members(start, t, l):
    return " START=%d MAXT=%d MAXL=%d" % (start, t, l)


E = "EAGER "
ALONE = "N3 SYM SELF ALONE MAXCRASH=1 "
QUIET = E + "NOS0 NOA3 NODQ NOHONEST NOS7 "  # without early warnings: what is found is the loss itself

CASES = [
    # Every rule on: nothing may be found.
    safe("t2l1c0-pipes", "S8" + bounds(2, 1, 0), "every message is one", optimize="-O1"),
    safe("t3l1c0", E + bounds(3, 1, 0), "three terms", optimize="-O1"),
    safe("t2l2c1", E + "S8" + bounds(2, 2, 1), "logs that conflict, records overtaken in flight, a crash",
         optimize="-O1"),
    safe("t2l2c0-read", E + "READ" + bounds(2, 2, 0), "a linearizable read", optimize="-O1"),
    safe("t2l2c0-read-asked", E + "READ READFWD" + bounds(2, 2, 0), "a linearizable read through a follower"),
    conf("3-of-4", "N4 SYM SELF" + members(7, 2, 3), "three members, a fourth to add; leaders may remove themselves"),
    conf("1-of-3", ALONE + members(1, 2, 3), "one member, which adds the second alone and may crash"),

    safe("t2l1c1-pipes", "S8" + bounds(2, 1, 1), "every message is one, a crash at any moment", full=True),
    safe("t3l2c0", E + bounds(3, 2, 0), "three terms and logs that conflict", full=True, slots=25),
    safe("t3l1c1", E + "S8" + bounds(3, 1, 1), "three terms, a crash", full=True),
    safe("t2l2c0-pipes", bounds(2, 2, 0), "every message is one", full=True, slots=25),
    safe("t3l1c0-pipes", bounds(3, 1, 0), "every message is one", full=True, slots=27),
    safe("t2l2c1-pipes", bounds(2, 2, 1), "every message is one", full=True, slots=27),
    safe("t4l1c0", E + bounds(4, 1, 0), "four terms", full=True, slots=26),
    safe("t3l3c0", E + bounds(3, 3, 0), "three entries", full=True, slots=27),
    safe("t3l2c1", E + bounds(3, 2, 1), "a crash between conflicting logs", full=True, slots=27),
    safe("t2l2c1-read", E + "READ" + bounds(2, 2, 1), "a read and a crash", full=True, slots=25),
    safe("t2l2c1-read-asked", E + "READ READFWD" + bounds(2, 2, 1), "a read through a follower and a crash",
         full=True, slots=25),
    conf("4-of-4", "N4 SYM SELF" + members(15, 2, 3), "four members to begin with", full=True),
    conf("3-of-4-t3", "N4 SYM SELF" + members(7, 3, 3), "three terms", full=True, slots=26),
    conf("4-of-4-t3", "N4 SYM SELF" + members(15, 3, 3), "three terms", full=True, slots=26),
    conf("1-of-3-l4", ALONE + members(1, 2, 4), "four entries", full=True, slots=25),
    conf("1-of-3-t3", ALONE + members(1, 3, 3), "three terms", full=True, slots=26),
    # A rule less that is harmless on its own. Quoral keeps these rules.
    safe("allowed-two-pipes", E + "TWOPIPE" + bounds(3, 2, 0), "LEAD on a socket of its own, with the check",
         full=True, slots=25),
    safe("allowed-late-count", E + "COUNTONLY" + bounds(3, 2, 0), "acks still counted after a fence",
         full=True, slots=25),
    safe("allowed-durable-position", E + "DURPOS" + bounds(3, 2, 0), "FENCED without what is in flight",
         full=True, slots=27),
    conf("allowed-alone-behind", ALONE + "ALONEBEHIND" + members(1, 2, 4), "the first of two commits what follows, too",
         full=True, slots=25),

    # One rule off: Spin must find what breaks. The numbers are those of docs/CONSENSUS.md.
    off("NOFENCE", QUIET + "NOFENCE" + bounds(2, 1, 0), "S2", "no fence: vote first, tell the replicator later"),
    off("STALELEAD", QUIET + "STALELEAD" + bounds(2, 2, 0), "S2", "1: the fence does not end leadership"),
    off("OPENEARLY", E + "OPENEARLY" + bounds(2, 1, 1), "S7", "2: appends of a term that is not durable"),
    off("OPENEARLY-S8", E + "OPENEARLY NOS7 S8" + bounds(2, 2, 1), "S8", "2: ... and, after a crash, of an older one",
        optimize="-O1"),
    off("LEADNOCHK", QUIET + "TWOPIPE LEADNOCHK" + bounds(2, 2, 0), "S2", "3: LEAD behind a newer fence"),
    off("IDXONLY", E + "IDXONLY" + bounds(3, 2, 1), "S5", "4: a durable notice known by its index"),
    off("IDXONLY-S2", QUIET + "IDXONLY" + bounds(3, 2, 1), "S2", "4: ... and the loss that comes of it",
        full=True, optimize="-O3", slots=26),
    off("LATEACK", "LATEACK" + bounds(2, 1, 0), "S3", "5: a late notice acks the old term"),
    off("DURPOS", QUIET + "DURPOS LATEACK" + bounds(2, 1, 0), "S2", "5: ... and FENCED has not told of it"),
    off("EARLYACK", QUIET + "EARLYACK" + bounds(2, 1, 1), "S2", "a follower acks what is not durable"),
    off("EARLYSELF", QUIET + "EARLYSELF" + bounds(2, 1, 1), "S2", "a leader counts what is not durable"),
    off("EARLYVOTE", QUIET + "EARLYVOTE" + bounds(2, 1, 1), "S2", "a vote that is not durable"),
    off("ANYTERM", QUIET + "ANYTERM" + bounds(4, 1, 0), "S2", "entries of older terms are counted", optimize="-O1"),
    off("READNOOWN", E + "READ READNOOWN" + bounds(2, 2, 0), "S6", "a read before an own entry is committed"),
    off("READNOQ", E + "READ READNOQ" + bounds(2, 2, 0), "S6", "a read without a round"),
    off("READNOOWN-asked", E + "READ READFWD READNOOWN" + bounds(2, 2, 0), "S6", "... through a follower"),
    off("READANYTERM", E + "READ READFWD READANYTERM" + bounds(2, 2, 0), "S6", "... answered by an older leader"),
    off("NOOWN", "N4 SYM NOOWN" + members(15, 3, 1), "S2", "a change before an own entry is committed"),
    off("NOWAIT", "N4 SYM NOWAIT" + members(7, 2, 3), "S2", "a second change while one is open", options="-DBFS"),
    off("COUNTSELF", "N4 SYM SELF COUNTSELF" + members(7, 2, 3), "S2", "a leader that removed itself counts itself"),
    off("VOTESELF", "N4 SYM SELF VOTESELF" + members(7, 2, 2), "S2", "... and when it stands"),
    off("ALONEEARLY", ALONE + "ALONEEARLY" + members(1, 2, 3), "S2", "the second is added before that is on the disk"),
    off("ALONEMORE", "N4 SYM SELF ALONE ALONEMORE" + members(7, 2, 2), "S2", "the fourth is added by one of three",
        options="-DBFS"),
    off("LOSECOMMIT", "APPLY PRUNE NOOWN LOSECOMMIT MAXCRASH=1" + members(7, 2, 3), "S2",
        "configurations by what is applied, commit index forgotten", full=True),

    # The model does something at all: each of these must be reachable.
    reach("two-leaders-commit", E + "GOAL=1" + bounds(2, 2, 0), "entries of two terms, committed by two leaders"),
    reach("everywhere", E + "GOAL=3" + bounds(2, 2, 0), "the whole log committed, on all disks"),
    reach("read", E + "READ GOAL=5" + bounds(2, 2, 0), "a read in term 2 that sees a commit of term 1"),
    reach("read-asked", E + "READ READFWD GOAL=5" + bounds(2, 2, 0), "the same through a follower"),
    reach("superseded", E + "GOAL=6" + bounds(2, 2, 0), "a record overtaken while it was in flight"),
    reach("changes", "N4 SYM GOAL=1" + members(7, 2, 3), "changes by leaders of two terms, the second committed"),
    reach("removed-leads", "N4 SYM SELF GOAL=2" + members(7, 2, 3), "elected by a configuration without itself"),
    reach("second-leads", ALONE + "GOAL=3" + members(1, 2, 3), "the second, added by one that crashed, leads"),
    reach("three-leaders", E + "GOAL=2" + bounds(3, 2, 1), "three leaders, two commits, a crash, a truncation",
          full=True, optimize="-O1"),
    reach("comes-back", E + "GOAL=4" + bounds(3, 2, 0), "a deposed leader leads again and commits",
          full=True, optimize="-O1"),

    # Too large to finish: a random walk through a part, as long as the time allows.
    hunt("t4l3c2", E + "S8" + bounds(4, 3, 2), "four terms, three entries, two crashes"),
    hunt("t3l3c2-pipes", bounds(3, 3, 2), "every message is one"),
    hunt("t4l3c2-read", E + "READ" + bounds(4, 3, 2), "a read"),
    hunt("conf-4-of-5", "SELF" + members(15, 3, 3), "five members"),
]
