"""What happens to the workers and the dispatcher of client/examples/task_*.c, and what must be true of it; the same for
processes (task_discovery.py) and for containers (compose_discovery.py).

A world starts and ends them. Names are those of instances. What it has to offer:

    dispatcher_log()            all that the dispatcher has printed
    scale(n)                    this many workers, new ones or fewer; returns at once
    kill(name)                  without a word
    hang(name), resume(name)    the worker proper does nothing; what keeps it registered goes on
    terminate(name)             SIGTERM
    drain(name)                 as an operator; the worker ends by itself
    ended(name)                 waits for its end: (exit code, all that it has printed)
    hold(), let_go()            somebody who is known to discover the service, and never looks
    kill_members(), start_members()
    end_dispatcher()            SIGTERM, and waits for it: its exit code
    end_workers()               the same; all that they have printed
"""

import re

import support
from cluster_load import until

SERVICE = "tasks"
TTL_S = 5
DRAIN_S = 3
STEP_S = 40

COUNTS = ("made", "done", "open", "repeated", "duplicates", "refused", "wrong")
REPORT = re.compile("^" + ", ".join(r"%s (\d+)" % name for name in COUNTS) + "; revision ", re.M)
EVENT = re.compile(r"^(\S+) (ready|unready|draining|gone)\b.*, (\d+) sent$", re.M)
END = re.compile(r"^worker: (\d+) done, (\d+) refused$", re.M)


class Course:
    def __init__(self, world):
        self.world = world
        self.told = []

    # ---- what the dispatcher says ----

    def report(self):
        """The counts of its last report."""
        found = REPORT.findall(self.world.dispatcher_log())
        counts = dict(zip(COUNTS, map(int, found[-1]))) if found else dict.fromkeys(COUNTS, 0)
        if counts["refused"] or counts["wrong"]:
            support.fail("the dispatcher reports: %s" % counts)
        return counts

    def events(self):
        return [(name, event, int(sent)) for name, event, sent in EVENT.findall(self.world.dispatcher_log())]

    def workers(self):
        """Those that may be chosen."""
        states = {name: event for name, event, _ in self.events()}
        return sorted(name for name, event in states.items() if event == "ready")

    def wait_for(self, name, event):
        """How many tasks the worker had been sent when the dispatcher was first told so. (An operator's drain is told
        twice: the worker writes it as well.)"""
        until("%s is %s" % (name, event), lambda: any(e[:2] == (name, event) for e in self.events()), STEP_S)
        return next(e for e in self.events() if e[:2] == (name, event))[2]

    def wait_for_workers(self, count):
        until("%d workers are ready" % count, lambda: len(self.workers()) == count, STEP_S)
        return self.workers()

    def is_stale(self):
        return re.findall(r"^(stale|fresh)\b", self.world.dispatcher_log(), re.M)[-1] == "stale"

    def progress(self, what, more=1):
        """This many more of what is counted."""
        goal = self.report()[what] + more
        until("%d %s" % (goal, what), lambda: self.report()[what] >= goal, STEP_S)

    def tell(self, text):
        self.told.append(text)
        print("%s: %s" % (text, self.report()), flush=True)

    # ---- the course ----

    def run(self):
        self.world.scale(4)
        self.wait_for_workers(4)
        self.progress("done", 100)
        self.world.scale(6)
        hung, killed, stopped, drained = self.wait_for_workers(6)[:4]
        self.progress("done", 100)
        self.tell("four workers, then six")
        self.silence(hung, killed)
        self.held_drain(stopped)
        self.operators_drain(drained)
        self.without_members()
        self.world.scale(2)
        self.wait_for_workers(2)
        self.progress("done", 100)
        self.tell("two left")
        return self.end(killed)

    def silence(self, hung, killed):
        """One does nothing for a while, another one never again. What they had is done by others."""
        self.world.hang(hung)
        self.progress("repeated")
        self.world.resume(hung)
        self.world.kill(killed)
        self.progress("duplicates")  # it does what it had been given, late
        self.wait_for(killed, "gone")
        self.progress("done", 100)
        self.tell("one hung, one killed")

    def held_drain(self, name):
        """The whole window has to be waited for: the dispatcher is not the only one who might choose this worker. It
        has all that time to do wrong."""
        self.world.hold()
        self.world.terminate(name)
        self.check_drain(name)
        self.world.let_go()
        self.tell("one stopped")

    def operators_drain(self, name):
        self.world.drain(name)
        self.check_drain(name)
        self.progress("done", 50)
        self.tell("one drained")

    def check_drain(self, name):
        """What it has got, and done, is exactly what it had been sent when the dispatcher was told that it drains."""
        sent = self.wait_for(name, "draining")
        self.wait_for(name, "gone")
        code, output = self.world.ended(name)
        found = END.findall(output)
        if code != 0 or found != [(str(sent), "0")]:
            support.fail("%s had been sent %d tasks when it drained; it ended with %d and says %s" % (
                name, sent, code, found or output[-500:]))

    def without_members(self):
        """The workers that are known go on working while the whole cluster is away, and are there when it is back."""
        self.world.kill_members()
        until("the dispatcher is stale", self.is_stale, STEP_S)
        self.progress("done", 100)
        self.world.start_members()
        until("the dispatcher is fresh", lambda: not self.is_stale(), STEP_S)
        self.wait_for_workers(3)
        self.progress("done", 100)
        self.tell("all members killed and started")

    def end(self, killed):
        """Nothing was lost, nothing refused, and every task was done by somebody."""
        code = self.world.end_dispatcher()
        log = self.world.dispatcher_log()
        counts = self.report()
        if code != 0 or not log.endswith("\nlost 0\n") or counts["done"] != counts["made"] or counts["open"]:
            support.fail("the dispatcher ended with %d:\n%s" % (code, log[-2000:]))
        ends = END.findall(self.world.end_workers())
        if any(int(refused) for _, refused in ends):
            support.fail("tasks were sent to workers that had drained: %s" % ends)
        known = sum(int(done) for done, _ in ends)
        answers = counts["done"] + counts["duplicates"]
        most = known + next(sent for name, event, sent in self.events() if (name, event) == (killed, "gone"))
        if answers > most:
            support.fail("%d tasks were answered, workers did %d at most" % (answers, most))
        return "%d tasks, none lost, none sent to a drained worker; %d repeated, %d answered twice: %s" % (
            counts["made"], counts["repeated"], counts["duplicates"], ", ".join(self.told))
