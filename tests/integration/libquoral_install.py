#!/usr/bin/python3
"""What `cmake --install` puts somewhere for programs that use libquoral: the header compiles as C and C++, the libraries link
by pkg-config, shared and static, and show exactly the functions of the header.

    libquoral_install.py --build build/release
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

import support

PROGRAM = r"""
#include <quoral.h>
#include <stdio.h>
#include <stdlib.h>
/* Names that the library uses inside must not be in the way of a program. */
void *xmalloc(size_t size) { abort(); return malloc(size); }
int main(void)
{
    char *error = NULL;
    quoral_client_options_t options;
    memset(&options, 0, sizeof options);
    options.endpoints = "gopher://x:1";
    quoral_client_t *client = quoral_client_new(&options, &error);
    if (client) {
        return 1;
    }
    printf("%s %s\n", quoral_version(), error);
    free(error);
    return 0;
}
"""


def run(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    if done.returncode != 0:
        support.fail("%s\nended with %d:\n%s" % (" ".join(command), done.returncode, done.stdout))
    return done.stdout


def declared(header):
    with open(header, encoding="utf-8") as text:
        return set(re.findall(r"\b(quoral_\w+)\(", re.sub(r"/\*.*?\*/|static inline.*?^}", "", text.read(),
                                                          flags=re.S | re.M)))


def shown(library, *flags):
    return {line.split()[-1].split("@")[0] for line in run("nm", "--defined-only", *flags, library).splitlines()
            if len(line.split()) == 3}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    options = parser.parse_args()
    directory = support.scratch("install")
    try:
        prefix = os.path.join(directory, "prefix")
        run("cmake", "--install", options.build, "--component", "client", "--prefix", prefix)
        (pc,) = [os.path.join(d, f) for d, _, files in os.walk(prefix) for f in files if f == "quoral.pc"]
        libraries = os.path.dirname(os.path.dirname(pc))
        wanted = declared(os.path.join(prefix, "include", "quoral.h"))
        for found, name in ((shown(os.path.join(libraries, "libquoral.so"), "-D"), "shared"),
                            (shown(os.path.join(libraries, "libquoral.a"), "-g"), "static")):
            if found != wanted:
                support.fail("the %s library: %s" % (name, sorted(found ^ wanted)))
        source = os.path.join(directory, "program.c")
        with open(source, "w", encoding="utf-8") as out:
            out.write(PROGRAM)
        environment = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(pc), LD_LIBRARY_PATH=libraries)
        # The prefix in the file is the one of configuration; pkg-config can be told another.
        ask = ["pkg-config", "--define-variable=prefix=" + prefix, "--cflags", "--libs", "quoral"]
        shared = run(*ask, env=environment).split()
        # Not --static: libquoral.a alone is meant, with the others as they usually are (docs/libquoral.md).
        static = [flag.replace("-lquoral", "-l:libquoral.a") for flag in shared]
        static += run("pkg-config", "--libs", "libzmq", "jansson").split() + ["-lpthread"]
        for compiler, more, flags in (("cc", ["-std=c11"], shared), ("cc", ["-std=c11"], static),
                                      ("c++", ["-x", "c++"], shared)):
            program = os.path.join(directory, "program")
            flags = flags + os.environ.get("QUORAL_LINK", "").split()
            if shutil.which(compiler) is None:
                support.skip("no " + compiler)
            run(compiler, *more, "-Wall", "-Wextra", "-Wpedantic", "-Werror", source, "-o", program, *flags)
            output = run(program, env=environment)
            if output != '%s endpoint "gopher://x:1": the scheme is none of tcp, ipc and http\n' % output.split()[0]:
                support.fail(output)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print("ok: %d functions" % len(wanted))


if __name__ == "__main__":
    sys.exit(main())
