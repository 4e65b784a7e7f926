"""The Docker engine and either of the two Compose programs, for tests.

Everything a test makes bears the name of its project, quoral-test-PID, and is removed at its end; what a killed test
has left is removed by the next one. Nothing else of the engine is touched.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile

import support

DOCKER_DIR = os.path.join(support.ROOT, "docker")
COMMAND_S = 120
BUILD_S = 900
PROJECT = "quoral-test-"
TASKS = "-tasks"  # behind the project's name: its image of workers

# What stands in for a member when the image is made of programs of this machine. The reference does not know our
# variables.
REFERENCE = """#!/bin/sh
for pair in $(env | grep ^QUORAL_); do
    export "ETCD_${pair#QUORAL_}"
done
exec etcd.real "$@"
"""


def run(*command, timeout=COMMAND_S, check=True, **more):
    """(exit code, output); fails the test when the command fails and check is on."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=timeout, check=False, **more)
    except subprocess.TimeoutExpired as e:
        support.fail("%s takes longer than %d s:\n%s" % (" ".join(command), timeout, (e.output or b"")[-2000:]))
    if check and done.returncode != 0:
        support.fail("%s ended with %d:\n%s" % (" ".join(command), done.returncode, done.stdout[-4000:]))
    return done.returncode, done.stdout


def docker(*arguments, **more):
    return run("docker", *arguments, **more)[1].strip()


def answers(*command):
    return shutil.which(command[0]) is not None and run(*command, check=False)[0] == 0


def composes():
    """The Compose programs that are there, as lists of words."""
    found = []
    if answers("docker", "compose", "version"):
        found.append(["docker", "compose"])
    if answers("docker-compose", "version"):
        found.append(["docker-compose"])
    return found


def ensure_base_image():
    """debian:bookworm-slim: as it is, or made."""
    if answers("docker", "image", "inspect", "debian:bookworm-slim"):
        return "debian:bookworm-slim was there"
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        support.skip("no image debian:bookworm-slim; docker/base-image makes it: as root, with debootstrap")
    return run(os.path.join(DOCKER_DIR, "base-image"), timeout=BUILD_S)[1].strip()


def prune_stages():
    """Images of the Dockerfile's stages that have no name, or none any more."""
    run("docker", "image", "prune", "-f", "--filter", "label=quoral.stage", check=False)


def remove_project(project):
    label = "label=com.docker.compose.project=" + project
    for kind, listing, remove in (("container", ["ps", "-aq"], ["rm", "-f", "-v"]),
                                  ("network", ["network", "ls", "-q"], ["network", "rm"]),
                                  ("volume", ["volume", "ls", "-q"], ["volume", "rm", "-f"])):
        names = docker(*listing, "--filter", label).split()
        if names and run("docker", *remove, *names, check=False)[0] != 0:
            print("not removed: %s %s" % (kind, names), flush=True)
    for image in (project, project + TASKS):
        if answers("docker", "image", "inspect", image):
            run("docker", "image", "rm", "-f", image, check=False)
    prune_stages()


def remove_leftovers():
    """What tests that no longer run have made."""
    lines = docker("ps", "-a", "--format", '{{.Label "com.docker.compose.project"}}').splitlines()
    lines += docker("volume", "ls", "--format", '{{.Label "com.docker.compose.project"}}').splitlines()
    lines += docker("image", "ls", "--format", "{{.Repository}}").splitlines()
    for project in {line.removesuffix(TASKS) for line in lines}:
        if not re.fullmatch(PROJECT + r"\d+", project):
            continue
        if not os.path.exists("/proc/" + project[len(PROJECT):]):
            print("removing %s of an earlier test" % project, flush=True)
            remove_project(project)


def build_image(tag, *what):
    docker("build", "-q", "--force-rm", "-t", tag, *what, timeout=BUILD_S)


def build_stage(stage, tag):
    build_image(tag, "--target", stage, "-f", os.path.join(DOCKER_DIR, "Dockerfile"), support.ROOT)


def build_programs():
    """The stage that compiles. Its name keeps it for the next build; what it replaces is of no use any more."""
    build_stage("build", "quoral-build")
    prune_stages()


def image_of_programs(tag, server, ctl):
    """The Dockerfile's image without its compiler: with programs of this machine."""
    runtime = tag + "-runtime"
    build_stage("runtime", runtime)
    with tempfile.TemporaryDirectory(prefix="quoral-image-") as context:
        is_ours = os.path.basename(server) == "quorald"
        names = [(server, "quorald" if is_ours else "etcd.real"), (ctl, "quoralctl")]
        for source, name in names:
            shutil.copy(source, os.path.join(context, name))
            run("strip", os.path.join(context, name), check=False)
        if not is_ours:
            with open(os.path.join(context, "quorald"), "w", encoding="utf-8") as f:
                f.write(REFERENCE)
                os.fchmod(f.fileno(), 0o755)
        with open(os.path.join(context, "Dockerfile"), "w", encoding="utf-8") as f:
            f.write("FROM %s\nCOPY %s /usr/local/bin/\n" % (
                runtime, " ".join(sorted(n for n in os.listdir(context) if n != "Dockerfile"))))
        build_image(tag, context)
    docker("image", "rm", runtime)


class Project:
    """One of the compose files under a name, images and ports of its own."""

    SERVICES = ["quoral1", "quoral2", "quoral3"]

    def __init__(self, compose, file):
        self.name = PROJECT + str(os.getpid())
        self.compose = compose
        self.file = file
        self.environment = dict(os.environ, QUORAL_IMAGE=self.name, QUORAL_TASKS_IMAGE=self.name + TASKS)
        self.ports = self.choose_ports("QUORAL_PORT")
        self.native_ports = self.choose_ports("QUORAL_NATIVE_PORT")
        self.publish_ports = self.choose_ports("QUORAL_PUBLISH_PORT")
        self.environment.pop("QUORAL_INITIAL_CLUSTER_STATE", None)

    def choose_ports(self, variable):
        """A port of this machine for each member: service -> port."""
        ports = dict(zip(self.SERVICES, support.free_ports(len(self.SERVICES))))
        self.environment.update({variable + s[-1]: str(p) for s, p in ports.items()})
        return ports

    def say(self, *arguments, timeout=COMMAND_S, **variables):
        """One call of the Compose program."""
        return run(*self.compose, "-f", self.file, "-p", self.name, *arguments, timeout=timeout,
                   env=dict(self.environment, **variables))[1]

    def containers(self, service):
        return docker("ps", "-aq", "--no-trunc", "--filter", "label=com.docker.compose.project=" + self.name,
                      "--filter", "label=com.docker.compose.service=" + service).split()

    def container(self, service):
        found = self.containers(service)
        if len(found) != 1:
            support.fail("%s has %d containers" % (service, len(found)))
        return found[0]

    def inspect(self, service):
        return json.loads(docker("inspect", self.container(service)))[0]

    def health(self, service):
        return self.inspect(service)["State"]["Health"]["Status"]

    def network(self):
        """The name of the network that Compose has made."""
        return docker("network", "ls", "--filter", "label=com.docker.compose.project=" + self.name,
                      "--format", "{{.Name}}")

    def volume(self, service):
        return next(m["Name"] for m in self.inspect(service)["Mounts"] if m["Destination"] == "/var/lib/quoral")

    def build(self):
        build_programs()
        self.say("build", timeout=BUILD_S)

    def logs(self, lines=20):
        """For people, when a test has failed."""
        return run(*self.compose, "-f", self.file, "-p", self.name, "logs", "--no-color", "--tail=%d" % lines,
                   check=False, env=self.environment)[1][-12000:]

    def remove(self):
        remove_project(self.name)


def project_of(name):
    """A project of this file below docker/, and what it needs; ends the test as skipped where there is no engine."""
    if not answers("docker", "info"):
        support.skip("no Docker engine answers: docker/%s was not tested" % name)
    found = composes()
    if not found:
        support.skip("neither `docker compose` nor docker-compose is installed: docker/%s was not tested" % name)
    remove_leftovers()
    project = Project(found[0], os.path.join(DOCKER_DIR, name))
    for compose in found:
        run(*compose, "-f", project.file, "config", "-q")
        print("docker/%s is valid for %s" % (name, run(*compose, "version")[1].splitlines()[0]), flush=True)
    print("engine %s; used: %s" % (docker("version", "-f", "{{.Server.Version}}"), " ".join(project.compose)),
          flush=True)
    print(ensure_base_image(), flush=True)
    return project
