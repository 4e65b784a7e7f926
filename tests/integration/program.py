"""A program under test that talks by lines, for tests."""

import os
import re
import subprocess
import time

import support

WAIT_S = 30


class Program:
    """A program under test whose output is waited for, line by line."""

    def __init__(self, *command, **environment):
        self.name = os.path.basename(command[0])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=dict(os.environ, **environment), preexec_fn=support.die_with_parent)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.text = ""
        self.seen = 0

    def read(self):
        data = self.process.stdout.read()
        self.text += (data or b"").decode()
        return self.text

    def expect(self, pattern, seconds=WAIT_S):
        """The next match behind the last one."""
        end = time.monotonic() + seconds
        while True:
            has_ended = self.process.poll() is not None
            match = re.compile(pattern, re.M).search(self.read(), self.seen)
            if match:
                self.seen = match.end()
                return match
            if has_ended:
                support.fail("%s ended with %d, without a line like %r:\n%s" % (
                    self.name, self.process.returncode, pattern, self.text))
            if time.monotonic() > end:
                support.fail("%s: no line like %r after %g s:\n%s" % (self.name, pattern, seconds, self.text))
            time.sleep(0.01)

    def say(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end(self, seconds=WAIT_S):
        """Its standard input ends; returns its exit code."""
        self.process.stdin.close()
        return self.wait(seconds)

    def wait(self, seconds=WAIT_S):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            support.fail("%s does not end within %g s:\n%s" % (self.name, seconds, self.read()))
        self.read()
        return code

    def signal(self, number):
        self.process.send_signal(number)
