#!/usr/bin/python3
"""The three members of docker/Procfile, started by foreman and by `./dev cluster`.

    procfile.py --server build/release/quorald [--part all|foreman|cluster]

The lines of the Procfile are what users paste, so they are tested as they are, with their ports. Two such tests on one
machine wait for each other.
"""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import support
from cluster_load import Agreement, ClusterLoad, Member, until

PROCFILE = os.path.join(support.ROOT, "docker", "Procfile")
NAMES = {"etcd1": "infra1", "etcd2": "infra2", "etcd3": "infra3"}
PORTS = {"infra1": 12379, "infra2": 22379, "infra3": 32379}
ALL_PORTS = [12379, 12380, 22379, 22380, 32379, 32380]
TURN_S = 600  # to wait for another test
# As in docker/cluster. The reference takes seven seconds when all of its members stop at once.
STOP_S = 40

# What issue and documentation promise, character by character; its two sisters differ in the numbers.
LINE = ("etcd1: quorald --name infra1 --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls "
        "http://127.0.0.1:12379 --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls "
        "http://127.0.0.1:12380 --initial-cluster-token etcd-cluster-1 --initial-cluster "
        "infra1=http://127.0.0.1:12380,infra2=http://127.0.0.1:22380,infra3=http://127.0.0.1:32380 "
        "--initial-cluster-state new --enable-pprof --logger=zap --log-outputs=stderr")


def check_lines():
    sisters = [LINE]
    for n in (2, 3):
        head, tail = LINE.split(" --initial-cluster ")
        head = head.replace("etcd1", "etcd%d" % n).replace("infra1", "infra%d" % n).replace(":1", ":%d" % n)
        sisters.append(head + " --initial-cluster " + tail)
    with open(PROCFILE, encoding="utf-8") as f:
        if f.read().splitlines() != sisters:
            support.fail("docker/Procfile is not what users were told")


def refused(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) != 0


class Runner:
    """A program that runs the Procfile: its processes, its output, the members' ports."""

    def __init__(self, command, directory, environment):
        self.command, self.environment = command, environment
        self.log_path = os.path.join(directory, "runner.log")
        self.directory = directory
        self.process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.log_from = log.tell()
            self.process = subprocess.Popen(self.command, cwd=self.directory, env=self.environment, stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                            preexec_fn=support.die_with_parent)

    def output(self):
        with open(self.log_path, "rb") as log:
            log.seek(self.log_from)
            return log.read().decode("utf-8", "replace")

    def end(self, signal_number, everybody=False):
        """What a user does: Ctrl-C goes to everybody in the terminal, other signals to the runner. All members end."""
        if everybody:
            os.killpg(self.process.pid, signal_number)
        else:
            self.process.send_signal(signal_number)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            support.fail("the runner does not end:\n" + self.output()[-3000:])
        self.process = None
        until("nobody listens", lambda: all(refused(p) for p in ALL_PORTS), 5)
        return code

    def stop(self):
        """For the end of a test, whatever the state. The members die with their parent (wrapped())."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def wrapped(server, directory):
    """A directory for PATH, with a quorald that does not outlive the runner, should the test be killed."""
    path = os.path.join(directory, "bin")
    os.mkdir(path)
    with open(os.path.join(path, "quorald"), "w", encoding="utf-8") as f:
        f.write('#!/bin/sh\nexec setpriv --pdeathsig KILL "%s" "$@"\n' % server)
        os.fchmod(f.fileno(), 0o755)
    return path


def members():
    return [Member(name, port) for name, port in PORTS.items()]


def wait_serving(runner, all_members):
    end = time.monotonic() + 60
    for member in all_members:
        while not member.serves():
            if runner.process.poll() is not None or time.monotonic() > end:
                support.fail("%s does not serve:\n%s" % (member.name, runner.output()[-5000:]))


def check_listed(all_members):
    for member in all_members:
        until("%s lists three started members" % member.name,
              lambda m=member: sorted(x.name for x in m.list()) == sorted(PORTS))


def under_foreman(options, directory):
    if shutil.which("foreman") is None:
        support.skip("no foreman (Debian's ruby-foreman): the Procfile was not run")
    environment = dict(os.environ, PATH=wrapped(options.server, directory) + ":" + os.environ["PATH"])
    runner = Runner(["foreman", "start", "-f", PROCFILE, "-d", directory], directory, environment)
    three = members()
    agreement = Agreement(three)
    try:
        runner.start()
        wait_serving(runner, three)
        check_listed(three)
        with ClusterLoad(three, "f", 1) as load:
            load.progress(three)
        agreement.check(load)
        runner.end(signal.SIGTERM)
        for name in PORTS:
            if not os.path.isdir(os.path.join(directory, name + ".etcd")):
                support.fail("%s has not stored anything in %s.etcd" % (name, name))
        # Again: the members know each other, and everything is there.
        runner.start()
        wait_serving(runner, three)
        agreement.compare()
        agreement.exchange("again")
        with ClusterLoad(three, "g", 2) as load:
            load.progress(three)
        agreement.check(load)
        runner.end(signal.SIGINT, everybody=True)
    finally:
        runner.stop()
        for member in three:
            member.close()
    version = subprocess.run(["foreman", "version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    support.count("docker/Procfile under foreman %s: started twice, %d acknowledged writes on all three members" % (
        version, agreement.acknowledged()))


def by_hand(command, environment, *arguments):
    """What a user says in a second terminal; (exit code, output)."""
    done = subprocess.run(command + list(arguments), env=environment, stdin=subprocess.DEVNULL, timeout=STOP_S + 10,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def expect(got, code, pattern):
    if got[0] != code or not re.search(pattern, got[1]):
        support.fail("expected exit code %d and %r, got %d and:\n%s" % (code, pattern, got[0], got[1]))


def rolling(runner, say, three, agreement):
    """Stops and restarts each member under load, and checks what the script says."""
    with ClusterLoad(three, "c", 3) as load:
        load.progress(three)
        for process, name in NAMES.items():
            gone = next(m for m in three if m.name == name)
            others = [m for m in three if m is not gone]
            expect(say("stop", name), 0, "%s stopped" % process)
            if not refused(gone.port):
                support.fail("%s still listens" % name)
            load.progress(others)
            expect(say("stop", process), 1, "%s does not run" % process)
            expect(say("restart", process), 0, r"%s restarted \(process \d+\)" % process)
            until("%s serves" % name, gone.serves)
            load.progress(three)
        # A member that runs is stopped first.
        before = runner.output().count("etcd2 ended with ")
        expect(say("restart", "infra2"), 0, "etcd2 restarted")
        if runner.output().count("etcd2 ended with ") != before + 1:
            support.fail("restart did not end the member first:\n" + runner.output()[-2000:])
        load.progress(three)
    agreement.check(load)
    expect(say("stop", "infra4"), 1, "no member infra4 .*etcd1 etcd2 etcd3")
    expect(say("stop"), 1, "stop which member")
    expect(say(), 1, "already running")
    expect(say("help"), 2, "Ctrl-C stops all")
    for process in NAMES:
        if not re.search(r"(?m)^%s \| .*\S" % process, runner.output()):
            support.fail("no log of %s:\n%s" % (process, runner.output()[-2000:]))


def by_dev_cluster(options, directory):
    script = [os.path.join(support.ROOT, "docker", "cluster")]
    dev = [os.path.join(support.ROOT, "dev"), "cluster"]
    environment = dict(os.environ, QUORAL_CLUSTER_DIR=os.path.join(directory, "data"),
                       PATH=wrapped(options.server, directory) + ":" + os.environ["PATH"])
    # ./dev runs what the release preset has built; the server of another build is given to the script behind it.
    through_dev = options.server == os.path.join(support.ROOT, "build", "release", "quorald")
    runner = Runner(dev if through_dev else script, directory, environment)
    three = members()
    agreement = Agreement(three)

    def say(*arguments):
        # Without arguments ./dev would build.
        return by_hand(dev if arguments and arguments[0] != "help" else script, environment, *arguments)

    try:
        expect(say("restart", "infra1"), 1, "nothing to start it in")
        runner.start()
        wait_serving(runner, three)
        check_listed(three)
        agreement.exchange("first")
        rolling(runner, say, three, agreement)
        # All stopped one by one: the foreground stays, and starts them again.
        for name in PORTS:
            expect(say("stop", name), 0, "stopped")
        for name in PORTS:
            expect(say("restart", name), 0, "restarted")
        wait_serving(runner, three)
        agreement.compare()
        for signal_number, everybody in ((signal.SIGINT, True), (signal.SIGTERM, False)):
            code = runner.end(signal_number, everybody)
            if code != 0:
                support.fail("exit code %d:\n%s" % (code, runner.output()[-2000:]))
            if everybody:
                runner.start()
                wait_serving(runner, three)
                agreement.compare()
    finally:
        runner.stop()
        for member in three:
            member.close()
    support.count("./dev cluster%s: stop and restart of each member under load, %d acknowledged writes on all three "
                  "members" % ("" if through_dev else "'s script", agreement.acknowledged()))


@contextlib.contextmanager
def turn():
    """The ports are fixed: one test after the other."""
    os.makedirs(support.cache_dir(), exist_ok=True)
    with open(os.path.join(support.cache_dir(), "procfile.lock"), "w", encoding="utf-8") as lock:
        end = time.monotonic() + TURN_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    support.fail("another test has had the ports for %d s" % TURN_S)
                time.sleep(0.2)
        for port in ALL_PORTS:
            if not refused(port):
                support.fail("somebody listens on port %d, which a line of docker/Procfile needs" % port)
        yield


def main():
    parser = support.arguments(__doc__.splitlines()[0])
    parser.add_argument("--part", default="all", choices=["all", "foreman", "cluster"])
    options = support.parse(parser)
    check_lines()
    directory = support.scratch("procfile")
    with turn():
        for part, run in (("cluster", by_dev_cluster), ("foreman", under_foreman)):
            if options.part in ("all", part):
                begin = time.monotonic()
                os.mkdir(os.path.join(directory, part))
                run(options, os.path.join(directory, part))
                print("%s: %.0f s" % (part, time.monotonic() - begin), flush=True)
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
