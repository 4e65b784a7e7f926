#!/usr/bin/python3
"""What the README shows works as it stands there: its Python, and a worker and its discovery in three languages, taken from
it, run side by side. Only the ports are others.

    readme.py --server build/release/quorald --programs build/release
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import support
from libquoral import equal, generate_messages, keys
from native_cluster import NativeCluster
from program import Program

LINES_MAX = 10
C_PROGRAM = "#include <quoral.h>\n#include <stdio.h>\nint main(void)\n{\n%s    return 0;\n}\n"


def blocks(heading):
    """The pieces of code below a heading: (language, text)."""
    with open(os.path.join(support.ROOT, "README.md"), encoding="utf-8") as readme:
        section = readme.read().split("\n## %s\n" % heading, 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.M | re.S)


class Snippets:
    """Programs of the README, with a member of a test for the one that it names."""

    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.members = NativeCluster(options.server, directory, size=1).start()
        self.member = self.members.members[0]
        self.programs = []
        generate_messages(directory)
        with open(os.path.join(directory, "resize"), "w", encoding="ascii") as program:
            program.write("#!/bin/sh\nexec setpriv --pdeathsig KILL sleep 1000000\n")
        os.chmod(program.name, 0o755)
        path = [options.programs, os.environ["PATH"]]
        python = [directory, os.path.join(support.ROOT, "client", "examples")]
        self.environment = {"QUORALCTL_NATIVE_ENDPOINTS": self.member.native, "PATH": ":".join(path),
                            "PYTHONPATH": ":".join(python), "PYTHONDONTWRITEBYTECODE": "1"}

    def here(self, text):
        """The same for this cluster. Every text names a port."""
        for port, mine in (("port=2379", "port=%d" % self.member.client_port), ("tcp://127.0.0.1:2381", self.member.native)):
            text = text.replace(port, mine)
        return text

    def start(self, language, text):
        return getattr(self, "start_" + language)(self.here(text))

    def run(self, *command):
        self.programs.append(Program(*command, **self.environment))
        return self.programs[-1]

    def start_sh(self, text):
        return self.run("sh", "-c", "cd %s && exec %s" % (self.directory, text))

    def start_python(self, text):
        return self.run(sys.executable, "-u", "-c", text)

    def start_c(self, text):
        source = os.path.join(self.directory, "snippet%d.c" % len(self.programs))
        with open(source, "w", encoding="utf-8") as out:
            out.write(C_PROGRAM % text)
        library = os.path.join(self.options.programs, "client", "native")
        subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", os.path.join(support.ROOT, "client"), source,
                        "-o", source[:-2], "-L", library, "-lquoral", "-Wl,-rpath," + library], check=True)
        return self.run(source[:-2])

    def end(self):
        for program in self.programs:
            program.process.kill()
            program.process.wait()
        self.members.stop()


def test_python(snippets):
    """The Python for keys and values, to its end."""
    (text,) = [text for language, text in blocks("Talk to it") if language == "python"]
    program = snippets.start("python", text)
    program.expect(r"^\(b'hello', ")
    equal(program.wait(), 0)


def test_services(snippets):
    """Each worker is found by each discovery, comes back when it is lost, and is not chosen any more from when it drains."""
    pairs = blocks("A worker and its discovery")
    equal([language for language, _ in pairs], ["sh", "sh", "c", "c", "python", "python"])
    for language, text in pairs:
        if len(text.splitlines()) > LINES_MAX:
            support.fail("more than %d lines:\n%s" % (LINES_MAX, text))
    workers, (watch, find, follow) = pairs[0::2], pairs[1::2]
    follower, watcher = snippets.start(*follow), snippets.start(*watch)
    watcher.expect("^fresh")
    follower.expect(r"^\d+ nobody$")
    leaving = []
    for i, (language, text) in enumerate(workers):
        address = "tcp://w%d:5555" % (i + 1)
        worker = snippets.start(language, text)
        name = watcher.expect("^added (.*) %s ready" % address).group(1)
        follower.expect(r"^\d+ %s$" % address)
        finder = snippets.start(*find)
        finder.expect("^%s$" % address)
        equal(finder.wait(), 0)
        come_back(snippets, watcher, name)
        follower.expect(r"^\d+ %s$" % address)
        if language == "sh":
            worker.signal(signal.SIGTERM)
        else:
            worker.say("\n")
        watcher.expect("^changed %s %s draining" % (name, address))
        follower.expect(r"^\d+ nobody$")
        leaving.append((worker, 0 if language != "sh" else 128 + signal.SIGTERM))
    for worker, code in leaving:
        equal(worker.wait(), code)
    equal(keys(snippets.members, "/services/resize/"), {})
    return len(pairs)


def come_back(snippets, watcher, name):
    """Its lease is lost: it registers again."""
    members = snippets.members
    kv = keys(members, "/services/resize/")["/services/resize/" + name]
    equal(json.loads(kv.value)["state"], "ready")
    members.call(snippets.member, "Lease/LeaseRevoke", members.rpc.LeaseRevokeRequest(ID=kv.lease))
    watcher.expect("^removed " + name)
    watcher.expect("^added %s .* ready" % name)


def main():
    parser = support.arguments(__doc__.split("\n\n")[0])
    parser.add_argument("--programs", required=True, help="the build directory")
    options = support.parse(parser)
    options.programs = os.path.abspath(options.programs)
    directory = support.scratch("readme", in_memory=True)
    snippets = Snippets(options, directory)
    try:
        test_python(snippets)
        count = test_services(snippets)
    finally:
        snippets.end()
        shutil.rmtree(directory, ignore_errors=True)
    support.count("README: %d programs work as they stand there" % (1 + count))


if __name__ == "__main__":
    sys.exit(main())
