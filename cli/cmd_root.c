/* The tree of commands, and those that ask no server: version, options, help. */
#include <stdlib.h>

#include "cli/cli.h"

/* etcdctl's commands whose features come later. They are known, so that prefixes mean the same as
 * with etcdctl, and refused. */
static int run_missing(cli_t *cli, const strings_t *args)
{
    (void)args;
    return cli_fail(cli, EXIT_BAD_FEATURE, "the command \"%s\" is not supported yet", cli->command);
}

#define MISSING(variable, text, in_group)                                                          \
    static const command_t variable = {                                                            \
        .name = (text), .summary = "Not supported yet", .group = (in_group), .run = run_missing}

MISSING(missing_alarm, "alarm", GROUP_CLUSTER);
MISSING(missing_defrag, "defrag", GROUP_CLUSTER);
MISSING(missing_snapshot, "snapshot", GROUP_CLUSTER);
MISSING(missing_downgrade, "downgrade", GROUP_CLUSTER);
MISSING(missing_make_mirror, "make-mirror", GROUP_UTILITY);
MISSING(missing_check, "check", GROUP_UTILITY);
MISSING(missing_lock, "lock", GROUP_CONCURRENCY);
MISSING(missing_elect, "elect", GROUP_CONCURRENCY);
MISSING(missing_auth, "auth", GROUP_AUTH);
MISSING(missing_user, "user", GROUP_AUTH);
MISSING(missing_role, "role", GROUP_AUTH);

static int run_version(cli_t *cli, const strings_t *args)
{
    (void)args;
    fprintf(cli->out, "quoralctl version: %s\nAPI version: 3.7\n", QUORAL_VERSION);
    return EXIT_DONE;
}

const command_t command_version = {
    .name = "version",
    .summary = "Prints the version of quoralctl and of the API",
    .group = GROUP_UTILITY,
    .run = run_version,
};

static int run_options(cli_t *cli, const strings_t *args)
{
    (void)args;
    const flag_def_t *defs[COMMAND_FLAGS_MAX];
    size_t n = 0;
    while (cli_global_flags[n].name != NULL) {
        defs[n] = &cli_global_flags[n];
        n++;
    }
    fprintf(cli->out,
            "Flags that every command takes. Each may also be set in the environment, as\n"
            "QUORALCTL_ or ETCDCTL_ and its name in capitals (ETCDCTL_WRITE_OUT=json).\n\n");
    command_print_flags(defs, n, cli->out);
    return EXIT_DONE;
}

const command_t command_options = {
    .name = "options",
    .summary = "Lists the flags that every command takes",
    .group = GROUP_UTILITY,
    .run = run_options,
};

static int run_help(cli_t *cli, const strings_t *args)
{
    command_path_t path;
    strings_t rest = {0};
    char *error = NULL;
    int code = EXIT_DONE;
    if (command_find(&command_root, cli_global_flags, args->items, args->n, &path, &rest, &error) ==
        0) {
        command_print_help(&path, cli->out);
    } else {
        code = cli_fail(cli, EXIT_ERROR, "%s", error);
        free(error);
    }
    strings_deinit(&rest);
    return code;
}

static const command_t command_help = {
    .name = "help",
    .arguments = "[command]",
    .summary = "Explains a command",
    .group = GROUP_UTILITY,
    .run = run_help,
};

/* In etcdctl's order, which shows in suggestions. */
static const command_t *const commands[] = {
    &command_get,         &command_put,        &command_del,         &command_txn,
    &command_compaction,  &missing_alarm,      &missing_defrag,      &command_endpoint,
    &command_move_leader, &command_watch,      &command_version,     &command_lease,
    &command_member,      &missing_snapshot,   &missing_make_mirror, &missing_lock,
    &missing_elect,       &missing_auth,       &missing_user,        &missing_role,
    &missing_check,       &command_completion, &missing_downgrade,   &command_options,
    &command_keygen,      &command_service,    &command_help,        NULL,
};

const command_t command_root = {
    .name = "quoralctl",
    .summary = "The command line client of Quoral; talks to any server of the etcd v3 API.",
    .children = commands,
};
