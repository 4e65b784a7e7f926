#include "cli/printer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/go_format.h"
#include "messages/xalloc.h"

bool printer_init(printer_t *self, const char *format, bool hex, FILE *out, FILE *err)
{
    static const struct {
        const char *format;
        const printer_ops_t *ops;
    } formats[] = {
        {"simple", &printer_simple},     {"fields", &printer_fields}, {"json", &printer_json},
        {"protobuf", &printer_protobuf}, {"table", &printer_table},
    };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i].format, format) == 0) {
            *self = (printer_t){.ops = formats[i].ops,
                                .format = formats[i].format,
                                .hex = hex,
                                .out = out,
                                .err = err};
            return true;
        }
    }
    return false;
}

int printer_refuse(printer_t *self)
{
    fprintf(self->err, "Error: %s not supported as output format\n", self->format);
    return 4;
}

int printer_flush(printer_t *self)
{
    fflush(self->out);
    return 0;
}

/* ---- rows shared by simple and table ---- */

static cells_t new_cells(const char *const *titles, size_t columns, size_t rows)
{
    return (cells_t){titles, columns, xcalloc(rows * columns + 1, sizeof(char *)), rows};
}

void cells_deinit(cells_t *self)
{
    for (size_t i = 0; i < self->rows * self->columns; i++) {
        free(self->items[i]);
    }
    free(self->items);
    *self = (cells_t){0};
}

static char *joined(char *const *items, size_t n, const char *separator)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "%s%s", i > 0 ? separator : "", items[i]);
    }
    fclose(out);
    return text;
}

static char *yes_no(bool value)
{
    return xstrdup(value ? "true" : "false");
}

cells_t printer_member_cells(const Etcdserverpb__MemberListResponse *answer)
{
    static const char *const titles[] = {"ID",         "Status",       "Name",
                                         "Peer Addrs", "Client Addrs", "Is Learner"};
    cells_t cells = new_cells(titles, 6, answer->n_members);
    char **cell = cells.items;
    for (size_t i = 0; i < answer->n_members; i++) {
        const Etcdserverpb__Member *member = answer->members[i];
        *cell++ = xasprintf("%" PRIx64, member->id);
        *cell++ = xstrdup(member->name[0] == 0 ? "unstarted" : "started");
        *cell++ = xstrdup(member->name);
        *cell++ = joined(member->peerurls, member->n_peerurls, ",");
        *cell++ = joined(member->clienturls, member->n_clienturls, ",");
        *cell++ = yes_no(member->islearner);
    }
    return cells;
}

cells_t printer_health_cells(const endpoint_health_t *items, size_t n)
{
    static const char *const titles[] = {"endpoint", "health", "took", "error"};
    cells_t cells = new_cells(titles, 4, n);
    char **cell = cells.items;
    for (size_t i = 0; i < n; i++) {
        *cell++ = xstrdup(items[i].endpoint);
        *cell++ = yes_no(items[i].healthy);
        *cell++ = xstrdup(items[i].took);
        *cell++ = xstrdup(items[i].error);
    }
    return cells;
}

static char *human_bytes(int64_t bytes)
{
    char text[GO_TEXT_BYTES];
    go_format_bytes((uint64_t)bytes, text);
    return xstrdup(text);
}

static char *percent_unused(int64_t size, int64_t used)
{
    /* etcdctl divides by zero here; an empty database wastes nothing. */
    return xasprintf("%" PRId64 "%%", size == 0 ? 0 : 100 - used * 100 / size);
}

cells_t printer_status_cells(const endpoint_status_t *items, size_t n)
{
    static const char *const titles[] = {
        "endpoint",
        "ID",
        "version",
        "storage version",
        "db size",
        "in use",
        "percentage not in use",
        "quota",
        "is leader",
        "is learner",
        "raft term",
        "raft index",
        "raft applied index",
        "errors",
        "downgrade target version",
        "downgrade enabled",
    };
    cells_t cells = new_cells(titles, 16, n);
    char **cell = cells.items;
    for (size_t i = 0; i < n; i++) {
        const Etcdserverpb__StatusResponse *status = items[i].status;
        uint64_t member = status->header != NULL ? status->header->member_id : 0;
        const Etcdserverpb__DowngradeInfo *downgrade = status->downgradeinfo;
        *cell++ = xstrdup(items[i].endpoint);
        *cell++ = xasprintf("%" PRIx64, member);
        *cell++ = xstrdup(status->version);
        *cell++ = xstrdup(status->storageversion);
        *cell++ = human_bytes(status->dbsize);
        *cell++ = human_bytes(status->dbsizeinuse);
        *cell++ = percent_unused(status->dbsize, status->dbsizeinuse);
        *cell++ = human_bytes(status->dbsizequota);
        *cell++ = yes_no(status->leader == member);
        *cell++ = yes_no(status->islearner);
        *cell++ = xasprintf("%" PRIu64, status->raftterm);
        *cell++ = xasprintf("%" PRIu64, status->raftindex);
        *cell++ = xasprintf("%" PRIu64, status->raftappliedindex);
        *cell++ = joined(status->errors, status->n_errors, ", ");
        *cell++ = xstrdup(downgrade != NULL ? downgrade->targetversion : "");
        *cell++ = yes_no(downgrade != NULL && downgrade->enabled);
    }
    return cells;
}

cells_t printer_hashkv_cells(const endpoint_hashkv_t *items, size_t n)
{
    static const char *const titles[] = {"endpoint", "hash", "hash revision"};
    cells_t cells = new_cells(titles, 3, n);
    char **cell = cells.items;
    for (size_t i = 0; i < n; i++) {
        *cell++ = xstrdup(items[i].endpoint);
        *cell++ = xasprintf("%" PRIu32, items[i].hash->hash);
        *cell++ = xasprintf("%" PRId64, items[i].hash->hash_revision);
    }
    return cells;
}
