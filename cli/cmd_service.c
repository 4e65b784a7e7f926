/* service: instances of services under /services/<name>/<instance> (docs/libquoral.md): who is there, who comes and
 * goes, and what an operator does about it. What registers is in service_run.c. */
#include "cli/service.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/native.h"
#include "client/native/client_instance.h"
#include "messages/xalloc.h"

enum { DRAIN_ATTEMPTS = 5 };

int service_check_name(cli_t *cli, const char *what, const char *name)
{
    if (client_instance_is_name(name)) {
        return EXIT_DONE;
    }
    return cli_fail(cli, EXIT_BAD_ARGS,
                    "%s \"%s\" is not 1 to 255 printable characters without a slash", what, name);
}

const char *service_state_name(quoral_instance_state_t state)
{
    static const char *const names[] = {"ready", "unready", "draining"};
    return names[state];
}

static int fail_with(cli_t *cli, quoral_result_t *result)
{
    int code = cli_fail(
        cli, EXIT_ERROR, "%s%s", quoral_result_text(result),
        quoral_result_may_have_happened(result) ? " (it may have happened all the same)" : "");
    quoral_result_destroy(&result);
    return code;
}

/* ---- list ---- */

static void print_instance(cli_t *cli, const char *event, const quoral_instance_t *instance)
{
    fprintf(cli->out, "%s%s %s %s weight=%u", event, instance->name, instance->address,
            service_state_name(instance->state), instance->weight);
    for (size_t i = 0; i < instance->metadata_n; i++) {
        fprintf(cli->out, " %s=%s", instance->metadata[i].name, instance->metadata[i].value);
    }
    fprintf(cli->out, "\n");
    fflush(cli->out);
}

static int list_instances(cli_t *cli, quoral_client_t *client, const char *name)
{
    /* A call says why there is no answer, which a discovery does not. */
    quoral_result_t *first =
        quoral_get(client, quoral_str("/services/"),
                   &(quoral_get_options_t){.prefix = true, .count_only = true});
    if (!quoral_result_is_ok(first)) {
        return fail_with(cli, first);
    }
    int64_t revision = quoral_result_revision(first);
    quoral_result_destroy(&first);
    quoral_discovery_t *discovery = quoral_discovery_new(client, name, NULL);
    int64_t timeout_ms = cli_command_timeout_ms(cli);
    int code = EXIT_DONE;
    if (!quoral_discovery_wait(discovery, revision, timeout_ms > 0 ? (uint32_t)timeout_ms : 0)) {
        code = cli_fail(cli, EXIT_BAD_CONNECTION, "no member answered in time");
    } else {
        quoral_instances_t *all = quoral_discovery_instances(discovery);
        for (size_t i = 0; i < quoral_instances_size(all); i++) {
            print_instance(cli, "", quoral_instances_at(all, i));
        }
        quoral_instances_destroy(&all);
    }
    quoral_discovery_destroy(&discovery);
    return code;
}

static int list_services(cli_t *cli, quoral_client_t *client)
{
    static const char root[] = "/services/";
    quoral_result_t *result = quoral_get(
        client, quoral_str(root), &(quoral_get_options_t){.prefix = true, .keys_only = true});
    if (!quoral_result_is_ok(result)) {
        return fail_with(cli, result);
    }
    slice_t before = slice_str("/");
    for (size_t i = 0; i < quoral_result_size(result); i++) {
        quoral_bytes_t key = quoral_result_kv(result, i)->key;
        slice_t rest = slice((const uint8_t *)key.data + strlen(root), key.len - strlen(root));
        const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
        slice_t name = slice(rest.data, slash ? (size_t)(slash - rest.data) : 0);
        if (name.len > 0 && !slice_equal(name, before)) {
            fprintf(cli->out, "%.*s\n", (int)name.len, (const char *)name.data);
            before = name;
        }
    }
    quoral_result_destroy(&result);
    return EXIT_DONE;
}

static int run_list(cli_t *cli, const strings_t *args)
{
    if (args->n > 1) {
        return cli_fail(cli, EXIT_BAD_ARGS,
                        "service list command needs at most 1 argument: the service");
    }
    int code = args->n == 1 ? service_check_name(cli, "service", args->items[0]) : EXIT_DONE;
    quoral_client_t *client = code == EXIT_DONE ? native_connect(cli, NATIVE_QUIET, &code) : NULL;
    if (client) {
        code =
            args->n == 1 ? list_instances(cli, client, args->items[0]) : list_services(cli, client);
    }
    quoral_client_destroy(&client);
    return code;
}

/* ---- watch ---- */

static void on_event(void *arg, quoral_discovery_t *discovery, quoral_event_t event,
                     const quoral_instance_t *instance)
{
    static const char *const events[] = {"added ", "changed ", "removed "};
    (void)discovery;
    print_instance(arg, events[event], instance);
}

static void on_stale(void *arg, quoral_discovery_t *discovery, bool stale)
{
    cli_t *cli = arg;
    fprintf(cli->out, "%s at revision %" PRId64 "\n", stale ? "stale" : "fresh",
            quoral_discovery_revision(discovery));
    fflush(cli->out);
}

static int run_watch(cli_t *cli, const strings_t *args)
{
    if (args->n != 1) {
        return cli_fail(cli, EXIT_BAD_ARGS, "service watch command needs 1 argument: the service");
    }
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* before there is a thread */
    int code = service_check_name(cli, "service", args->items[0]);
    quoral_client_t *client = code == EXIT_DONE ? native_connect(cli, NATIVE_TELLS, &code) : NULL;
    if (client) {
        quoral_discovery_options_t options = {.on_event = on_event,
                                              .on_stale = on_stale,
                                              .arg = cli,
                                              .announce = flags_bool(&cli->flags, "announce")};
        quoral_discovery_t *discovery = quoral_discovery_new(client, args->items[0], &options);
        int number = 0;
        sigwait(&ends, &number);
        quoral_discovery_destroy(&discovery);
    }
    quoral_client_destroy(&client);
    return code;
}

static const flag_def_t watch_flags[] = {
    {"announce", 0, FLAG_BOOL, "false",
     "instances that drain wait for this subscriber, and no longer"},
    {0},
};

/* ---- drain, deregister ---- */

static int check_two(cli_t *cli, const strings_t *args)
{
    if (args->n != 2) {
        return cli_fail(cli, EXIT_BAD_ARGS,
                        "service %s command needs 2 arguments: the service and its instance",
                        cli->command);
    }
    int code = service_check_name(cli, "service", args->items[0]);
    return code ? code : service_check_name(cli, "instance", args->items[1]);
}

static bool is_unchanged_then(quoral_txn_t *txn, quoral_client_t *client, const quoral_kv_t *kv,
                              quoral_result_t **result)
{
    quoral_txn_if(txn, kv->key, QUORAL_IF_MODIFIED, QUORAL_EQUAL, kv->mod_revision);
    *result = quoral_commit(client, txn, 0);
    return quoral_result_is_ok(*result) && quoral_result_succeeded(*result);
}

/* One attempt to change the instance as it is now. True: *code_p is the end of it. */
static bool change(cli_t *cli, quoral_client_t *client, const char *key, bool drains, int *code_p)
{
    quoral_result_t *found = quoral_get(client, quoral_str(key), NULL);
    const quoral_kv_t *kv = quoral_result_kv(found, 0);
    if (!quoral_result_is_ok(found)) {
        *code_p = fail_with(cli, found);
        return true;
    }
    quoral_txn_t *txn = quoral_txn_new();
    buf_t value = {0};
    bool is_over = true;
    if (!kv) {
        *code_p = cli_fail(cli, EXIT_ERROR, "there is no such instance");
    } else if (drains && client_instance_rewrite(&value, slice(kv->value.data, kv->value.len),
                                                 CLIENT_INSTANCE_DRAINING)) {
        *code_p = cli_fail(cli, EXIT_ERROR, "the value of %s is not that of an instance", key);
    } else {
        if (drains) {
            quoral_put_options_t options = {.lease = kv->lease};
            quoral_txn_put(txn, QUORAL_THEN, kv->key, (quoral_bytes_t){value.data, value.len},
                           &options);
        } else {
            quoral_txn_delete(txn, QUORAL_THEN, kv->key, NULL);
        }
        quoral_result_t *done = NULL;
        bool is_done = is_unchanged_then(txn, client, kv, &done);
        is_over = is_done || !quoral_result_is_ok(done); /* otherwise somebody was faster: again */
        *code_p = is_done || quoral_result_is_ok(done) ? EXIT_DONE : fail_with(cli, done);
        if (*code_p == EXIT_DONE) {
            quoral_result_destroy(&done);
        }
    }
    buf_deinit(&value);
    quoral_txn_destroy(&txn);
    quoral_result_destroy(&found);
    return is_over;
}

static int change_instance(cli_t *cli, const strings_t *args, bool drains)
{
    int code = check_two(cli, args);
    quoral_client_t *client = code == EXIT_DONE ? native_connect(cli, NATIVE_QUIET, &code) : NULL;
    if (client) {
        char *key = xasprintf("/services/%s/%s", args->items[0], args->items[1]);
        int attempts = 0;
        while (!change(cli, client, key, drains, &code) && ++attempts < DRAIN_ATTEMPTS) {
        }
        if (attempts == DRAIN_ATTEMPTS) {
            code = cli_fail(cli, EXIT_ERROR, "the instance changes all the time");
        }
        free(key);
    }
    quoral_client_destroy(&client);
    return code;
}

static int run_drain(cli_t *cli, const strings_t *args)
{
    return change_instance(cli, args, true);
}

static int run_deregister(cli_t *cli, const strings_t *args)
{
    return change_instance(cli, args, false);
}

/* ---- the tree ---- */

static const command_t command_service_run = {
    .name = "run",
    .arguments = "--name=NAME --addr=ADDR [--] PROGRAM [ARGUMENTS]",
    .summary = "Runs a program as an instance of a service",
    .text = "Starts the program, registers it once it is healthy, and keeps it registered. On "
            "SIGTERM or SIGINT it\n"
            "drains first: nobody chooses it any more. Then the program gets the signal. The exit "
            "code is the\n"
            "program's. An instance that an operator drains (service drain) ends in the same way.",
    .flags = service_run_flags,
    .run = service_run,
};
static const command_t command_service_register = {
    .name = "register",
    .arguments = "--name=NAME --addr=ADDR",
    .summary = "Registers an instance of a service until it is interrupted",
    .flags = service_run_flags,
    .run = service_run,
};
static const command_t command_service_drain = {
    .name = "drain",
    .arguments = "NAME INSTANCE",
    .summary =
        "Makes an instance drain: nobody chooses it any more, and it leaves when it has finished",
    .run = run_drain,
};
static const command_t command_service_deregister = {
    .name = "deregister",
    .arguments = "NAME INSTANCE",
    .summary =
        "Removes the key of an instance; one that is alive registers again, so drain it instead",
    .run = run_deregister,
};
static const command_t command_service_list = {
    .name = "list",
    .arguments = "[NAME]",
    .summary = "Lists the services, or the instances of one",
    .run = run_list,
};
static const command_t command_service_watch = {
    .name = "watch",
    .arguments = "NAME",
    .summary = "Prints who comes and goes, in order and without gaps, until it is interrupted",
    .flags = watch_flags,
    .run = run_watch,
};

static const command_t *const service_commands[] = {
    &command_service_run,
    &command_service_register,
    &command_service_drain,
    &command_service_deregister,
    &command_service_list,
    &command_service_watch,
    NULL,
};

const command_t command_service = {
    .name = "service",
    .summary = "Services: who works for them, and how they come and go",
    .group = GROUP_UTILITY,
    .shared_flags = cli_native_flags,
    .children = service_commands,
};
