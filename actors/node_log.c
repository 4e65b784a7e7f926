#include "actors/node_log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/daemon/join.h"
#include "actors/peer/endpoint.h"
#include "actors/peer/peer_join_shell.h"
#include "actors/peer/roster.h"
#include "actors/wal_writer/wal_disk.h"
#include "actors/wal_writer/wal_writer.h"
#include "actors/wiring.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "store/wal_dir.h"

enum { BOOTSTRAPPED_US = 1000000, JOIN_US = 5000000 };

/* How other members are reached. */
typedef struct {
    bool names_are_ipv6;
    curve_domain_t *curve;
} dial_t;

/* ---- a new one ---- */

static char *create(const char *dir, const wal_initial_t *initial, log_t *log, const char *what)
{
    char *error = NULL;
    int rc = wal_create(io_posix(), dir, initial, &error);
    if (rc) {
        return error;
    }
    log_writef(log, LEVEL_INFO, LOG_HERE, what,
               "\"member-id\":\"%" PRIx64 "\",\"cluster-id\":\"%" PRIx64 "\"",
               initial->identity.member_id, initial->identity.cluster_id);
    return NULL;
}

/* A member that was up once and has lost its data would vote twice in a term. The others know, if they are there. */
static char *check_not_bootstrapped(const bootstrap_t *bootstrap, const dial_t *dial)
{
    size_t count = 0;
    const char **urls = bootstrap_other_urls(bootstrap, &count);
    const join_question_t question = {.urls = urls,
                                      .count = count,
                                      .names_are_ipv6 = dial->names_are_ipv6,
                                      .curve = dial->curve,
                                      .timeout_us = BOOTSTRAPPED_US,
                                      .is_hasty = true};
    join_answer_t answer = {0};
    char *error = count ? peer_join_ask(&question, &answer) : NULL;
    free(error); /* nobody has to be there yet */
    error = join_answer_has_published(&answer, bootstrap->own->id)
                ? xasprintf("member %" PRIx64 " has already been bootstrapped", bootstrap->own->id)
                : NULL;
    join_answer_deinit(&answer);
    free(urls);
    return error;
}

static char *begin_cluster(const bootstrap_t *bootstrap, log_t *log, const dial_t *dial,
                           const char *dir)
{
    char *error = check_not_bootstrapped(bootstrap, dial);
    if (error) {
        return error;
    }
    bytes_t *configuration = bootstrap_configuration(bootstrap);
    wal_identity_t identity = {.cluster_id = bootstrap->cluster_id,
                               .member_id = bootstrap->own->id};
    wal_initial_t initial = wal_initial_cluster(identity, configuration);
    error = create(dir, &initial, log, "made a new member");
    entries_deinit(&initial.entries);
    bytes_unref(&configuration);
    return error;
}

/* ---- joining ---- */

static bool has_added_us(const void *context, const join_answer_t *answer)
{
    return answer->is_committed && join_knows(context, bytes_slice(answer->configuration));
}

static char *ask_cluster(const bootstrap_t *bootstrap, const dial_t *dial, join_answer_t *answer)
{
    size_t count = 0;
    const char **urls = bootstrap_other_urls(bootstrap, &count);
    const join_question_t question = {.urls = urls,
                                      .count = count,
                                      .names_are_ipv6 = dial->names_are_ipv6,
                                      .curve = dial->curve,
                                      .timeout_us = JOIN_US,
                                      .is_enough = has_added_us,
                                      .context = bootstrap};
    char *error = peer_join_ask(&question, answer);
    free(urls);
    if (error) {
        char *text = xasprintf("cannot fetch cluster info from peer urls: %s", error);
        free(error);
        return text;
    }
    return NULL;
}

/* Whatever a joining member knows it has from the others: its log is empty, its term 0. The configuration only
 * tells it whom to talk to. */
static char *create_joining(const join_answer_t *answer, uint64_t member_id, log_t *log,
                            const char *dir)
{
    bytes_t *configuration = join_configuration(bytes_slice(answer->configuration), member_id);
    const wal_initial_t initial = {
        .identity = {.cluster_id = answer->cluster_id, .member_id = member_id},
        .configuration = configuration};
    char *error = create(dir, &initial, log, "made a member that joins a cluster");
    bytes_unref(&configuration);
    return error;
}

static char *join_cluster(const bootstrap_t *bootstrap, log_t *log, const dial_t *dial,
                          const char *dir)
{
    join_answer_t answer = {0};
    uint64_t member_id = 0;
    char *error = ask_cluster(bootstrap, dial, &answer);
    if (!error) {
        error = join_match(bootstrap, bytes_slice(answer.configuration), &member_id);
    }
    if (!error && join_answer_has_published(&answer, member_id)) {
        error = xasprintf("member %" PRIx64 " has already been bootstrapped", member_id);
    }
    if (!error) {
        error = create_joining(&answer, member_id, log, dir);
    }
    join_answer_deinit(&answer);
    return error;
}

static char *create_log(const options_t *options, log_t *log, curve_domain_t *curve,
                        const char *dir)
{
    bootstrap_t bootstrap;
    char *error = options_bootstrap(options, &bootstrap);
    if (!error) {
        const dial_t dial = {.names_are_ipv6 = endpoint_names_are_ipv6(&options->listen_peer),
                             .curve = curve};
        error = options->join_existing ? join_cluster(&bootstrap, log, &dial, dir)
                                       : begin_cluster(&bootstrap, log, &dial, dir);
    }
    bootstrap_deinit(&bootstrap);
    return error;
}

/* ---- what is there ---- */

/* The newest configuration that cannot be undone any more. */
static const bytes_t *committed_configuration(const wal_recovered_t *log)
{
    for (size_t i = log->entries.count; i > 0; i--) {
        const entry_t *entry = &log->entries.items[i - 1];
        if (entry->type == ENTRY_CONFIGURATION && entry->index <= log->commit) {
            return entry->payload;
        }
    }
    return log->base_configuration;
}

static char *check_not_removed(const wal_recovered_t *log)
{
    roster_t roster = {0};
    int rc = roster_decode(&roster, bytes_slice(committed_configuration(log)));
    bool is_removed = rc == 0 && roster_has_removed(&roster, log->identity.member_id);
    roster_deinit(&roster);
    return is_removed ? xstrdup("the member has been permanently removed from the cluster") : NULL;
}

/* ---- alone ---- */

/* Carries out what the writer wants, until it wants nothing more. */
static char *run_writer(const core_ops_t *ops, void *writer, outbox_t *out, wal_disk_t *disk)
{
    char *error = NULL;
    step_in_t in = {.msg = NULL};
    ops->step(writer, &in, out);
    actor_id_t to = ACTOR_NONE;
    for (msg_t *msg; !error && (msg = outbox_take(out, &to)) != NULL;) {
        msg_t *done = NULL;
        if (to == PORT_DISK && wal_disk_port(disk, msg, &done, &error) == 0) {
            in.msg = done;
            ops->step(writer, &in, out);
            in.msg = NULL;
            ops->step(writer, &in, out);
        }
        msg_free(&done);
        msg_free(&msg);
    }
    return error;
}

/* A new term, voted for by itself, and in it an entry with the configuration: nobody else has that term. */
static char *append_alone(const wal_recovered_t *log, const char *dir, const bytes_t *configuration)
{
    char *error = NULL;
    wal_disk_t *disk = NULL;
    int rc = wal_disk_new(io_posix(), dir, log, LIMIT_WAL_SEGMENT_BYTES, NULL, &disk, &error);
    if (rc) {
        return error;
    }
    outbox_t *out = wiring_outbox(ACTOR_WAL_WRITER);
    void *writer = wal_writer_new(log, LIMIT_WAL_SEGMENT_BYTES);
    msg_t *hardstate = msg_new(MSG_HARDSTATE);
    hardstate->u.hardstate =
        (msg_hardstate_t){.seq = 1, .term = log->term + 1, .vote = log->identity.member_id};
    msg_t *append = msg_new(MSG_APPEND_LOG);
    const entry_t entry = {.index = wal_recovered_last_index(log) + 1,
                           .term = log->term + 1,
                           .type = ENTRY_CONFIGURATION,
                           .payload = bytes_ref(configuration)};
    append->u.append_log.lsn = log->lsn + 1;
    append->u.append_log.first = entry.index;
    append->u.append_log.commit = log->commit;
    entries_append(&append->u.append_log.entries, &entry);
    step_in_t in = {.msg = hardstate};
    wal_writer_ops.step(writer, &in, out);
    in.msg = append;
    wal_writer_ops.step(writer, &in, out);
    error = run_writer(&wal_writer_ops, writer, out, disk);
    bytes_t *payload = entry.payload;
    bytes_unref(&payload);
    msg_free(&hardstate);
    msg_free(&append);
    wal_writer_ops.destroy(&writer);
    outbox_destroy(&out);
    wal_disk_destroy(&disk);
    return error;
}

static char *reopen(const char *dir, wal_recovered_t *recovered)
{
    char *error = NULL;
    wal_recovered_deinit(recovered);
    return wal_open(io_posix(), dir, recovered, &error) ? error : NULL;
}

static char *force_alone(const options_t *options, log_t *log, const char *dir,
                         wal_recovered_t *recovered)
{
    uint64_t index = 0;
    const bytes_t *newest = wal_recovered_configuration(recovered, &index);
    bytes_t *alone = alone_configuration(bytes_slice(newest), recovered->identity.member_id,
                                         &options->advertise_peer);
    if (!alone) {
        return NULL;
    }
    char *error = append_alone(recovered, dir, alone);
    bytes_unref(&alone);
    if (!error) {
        error = reopen(dir, recovered);
    }
    if (!error) {
        log_writef(log, LEVEL_WARN, LOG_HERE, "forced a new cluster of this member alone",
                   "\"member-id\":\"%" PRIx64 "\",\"index\":%" PRIu64,
                   recovered->identity.member_id, wal_recovered_last_index(recovered));
    }
    return error;
}

char *node_log_open(const options_t *options, log_t *log, curve_domain_t *curve, const char *dir,
                    wal_recovered_t *recovered)
{
    char *error = NULL;
    int rc = wal_open(io_posix(), dir, recovered, &error);
    bool is_new = rc == WAL_ABSENT;
    if (is_new) {
        free(error);
        error = create_log(options, log, curve, dir);
        if (!error) {
            error = reopen(dir, recovered);
        }
    }
    if (!error) {
        error = check_not_removed(recovered);
    }
    if (!error && options->force_new_cluster && !is_new) {
        error = force_alone(options, log, dir, recovered);
    }
    return error;
}
