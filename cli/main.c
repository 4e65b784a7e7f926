/* quoralctl: the command line tool. All of it is in cli_run, so that tests can call it. */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

int main(int argc, char **argv)
{
    return cli_run(argv, (size_t)argc, environ, stdin, stdout, stderr);
}
