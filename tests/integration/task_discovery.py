#!/usr/bin/python3
"""Discovery at work, with processes: three members, workers that `quoralctl service run` registers, and a dispatcher
that spreads tasks over them; workers come, go, hang and die, the whole cluster is restarted. The same with containers:
compose_discovery.py.

    task_discovery.py --server build/release/quorald --programs build/release
"""

import os
import shutil
import signal
import subprocess
import time

import support
from native_cluster import NativeCluster
from program import WAIT_S, Program
from task_course import DRAIN_S, SERVICE, TTL_S, Course

RATE = 200
WORK_MS = 5


class Worker(Program):
    """quoralctl and, as its child, the worker proper. That one goes with quoralctl, however that ends."""

    def __init__(self, world, name):
        address = "tcp://127.0.0.1:%d" % support.free_ports(1)[0]
        super().__init__(world.ctl, "service", "run", world.endpoints, "--name=" + SERVICE, "--instance=" + name,
                         "--addr=" + address, "--ttl=%d" % TTL_S, "--drain=%ds" % DRAIN_S, "--",
                         "setpriv", "--pdeathsig=KILL", "--", world.example + "task_worker", address, str(WORK_MS))

    def signal_child(self, number):
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid), encoding="ascii") as children:
            os.kill(int(children.read()), number)


class Processes:
    """The world of task_course.py."""

    def __init__(self, options, directory):
        self.ctl = os.path.join(options.programs, "quoralctl")
        self.example = os.path.join(options.programs, "client/examples/example_")
        self.members = NativeCluster(options.server, directory).start()
        self.endpoints = "--native-endpoints=" + self.members.native
        self.members.leader()
        self.workers = {}
        self.dispatcher = Program(self.example + "task_dispatcher", self.members.native, SERVICE, str(RATE))

    def dispatcher_log(self):
        return self.dispatcher.read()

    def scale(self, count):
        alive = [name for name, worker in self.workers.items() if worker.process.poll() is None]
        for name in alive[count:]:
            self.terminate(name)
        for _ in range(count - len(alive)):
            name = "w%d" % (len(self.workers) + 1)
            self.workers[name] = Worker(self, name)

    def kill(self, name):
        self.workers[name].process.kill()

    def hang(self, name):
        self.workers[name].signal_child(signal.SIGSTOP)

    def resume(self, name):
        self.workers[name].signal_child(signal.SIGCONT)

    def terminate(self, name):
        self.workers[name].signal(signal.SIGTERM)

    def drain(self, name):
        subprocess.run([self.ctl, "service", "drain", SERVICE, name, self.endpoints], check=True, timeout=WAIT_S)

    def ended(self, name):
        return self.workers[name].wait(), self.workers[name].text

    def hold(self):
        rpc = self.members.rpc
        self.members.call(self.members.members[0], "KV/Put",
                          rpc.PutRequest(key=b"/subscribers/%s/sleeper" % SERVICE.encode(), value=b"1"))

    def let_go(self):
        rpc = self.members.rpc
        self.members.call(self.members.members[0], "KV/DeleteRange",
                          rpc.DeleteRangeRequest(key=b"/subscribers/%s/sleeper" % SERVICE.encode()))

    def kill_members(self):
        for member in self.members.members:
            member.kill()

    def start_members(self):
        for member in self.members.members:
            member.start(wait=False)

    def end_dispatcher(self):
        self.dispatcher.signal(signal.SIGTERM)
        return self.dispatcher.wait()

    def end_workers(self):
        alive = [worker for worker in self.workers.values() if worker.process.poll() is None]
        for worker in alive:
            worker.signal(signal.SIGTERM)
        for worker in alive:
            worker.wait()
        return "".join(worker.read() for worker in self.workers.values())

    def close(self):
        for program in [self.dispatcher, *self.workers.values()]:
            program.process.kill()
        self.members.stop()


def main():
    parser = support.arguments(__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--programs", required=True, help="the build directory")
    options = support.parse(parser)
    directory = support.scratch("discovery", in_memory=True)
    begin = time.monotonic()
    try:
        world = Processes(options, directory)
        try:
            result = Course(world).run()
        finally:
            world.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    support.count("%s; %.0f s" % (result, time.monotonic() - begin))


if __name__ == "__main__":
    main()
