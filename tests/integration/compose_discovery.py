#!/usr/bin/python3
"""docker/compose.discovery.yaml with the real engine: what task_discovery.py does to processes, done to containers.

    compose_discovery.py --server build/release/quorald     (the image is built from docker/Dockerfile all the same)

Where no engine answers, the test is skipped and says so.
"""

import sys
import time

import docker_engine
import support
from docker_engine import docker, run
from program import Program
from task_course import SERVICE, Course

STOP_S = 20
NAME_LEN = 12  # of a container's id, as its host name


class Containers:
    """The world of task_course.py. The name of a worker is its container's host name."""

    def __init__(self, project):
        self.project = project
        self.members = [project.container(service) for service in project.SERVICES]
        self.dispatcher = project.container("dispatcher")
        self.dispatcher_output = Program("docker", "logs", "-f", self.dispatcher)
        self.outputs = {}  # of workers: their containers may be removed

    def dispatcher_log(self):
        return self.dispatcher_output.read()

    def scale(self, count):
        self.project.say("up", "-d", "--no-build", "--no-recreate", "--scale", "worker=%d" % count)
        for container in self.project.containers("worker"):
            name = container[:NAME_LEN]
            if name not in self.outputs:
                self.outputs[name] = Program("docker", "logs", "-f", name)

    def kill(self, name):
        docker("kill", name)

    def signal_child(self, name, signal):
        docker("exec", name, "sh", "-c", "kill -%s $(cat /proc/1/task/1/children)" % signal)

    def hang(self, name):
        self.signal_child(name, "STOP")

    def resume(self, name):
        self.signal_child(name, "CONT")

    def terminate(self, name):
        docker("stop", "-t", str(STOP_S), name)

    def ctl(self, *arguments):
        docker("exec", self.members[0], "quoralctl", *arguments)

    def drain(self, name):
        self.ctl("service", "drain", SERVICE, name)

    def ended(self, name):
        return int(docker("wait", name)), docker("logs", name)

    def hold(self):
        self.ctl("put", "/subscribers/%s/sleeper" % SERVICE, "1")

    def let_go(self):
        self.ctl("del", "/subscribers/%s/sleeper" % SERVICE)

    def kill_members(self):
        docker("kill", *self.members)

    def start_members(self):
        docker("start", *self.members)

    def end_dispatcher(self):
        docker("stop", "-t", str(STOP_S), self.dispatcher)
        code = int(docker("wait", self.dispatcher))
        self.dispatcher_output.wait()
        return code

    def end_workers(self):
        left = self.project.containers("worker")
        docker("stop", "-t", str(STOP_S), *left)
        there = [name[:NAME_LEN] for name in left]
        texts = [docker("logs", name) for name in there]
        for name, output in self.outputs.items():
            if name not in there:
                output.wait()
                texts.append(output.text)
        return "\n".join(texts)

    def close(self):
        for output in [self.dispatcher_output, *self.outputs.values()]:
            output.process.kill()


def everything(project):
    begin = time.monotonic()
    project.build()
    print("images: %.0f s" % (time.monotonic() - begin), flush=True)
    begin = time.monotonic()
    project.say("up", "-d", "--no-build")
    world = Containers(project)
    try:
        result = Course(world).run()
    finally:
        world.close()
    support.count("%s: %s; %.0f s" % (" ".join(project.compose), result, time.monotonic() - begin))


def main():
    support.parse(support.arguments(__doc__.splitlines()[0]))
    project = docker_engine.project_of("compose.discovery.yaml")
    try:
        everything(project)
    except SystemExit:
        print(project.logs(), flush=True)
        raise
    finally:
        project.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
