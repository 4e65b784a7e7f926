#include "actors/api/rpc_metrics_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/core/metrics_text.h"
#include "messages/xalloc.h"

static const char *type_name(rpc_type_t type)
{
    switch (type) {
    case RPC_SERVER_STREAM: return "server_stream";
    case RPC_CLIENT_STREAM: return "client_stream";
    case RPC_BIDI_STREAM: return "bidi_stream";
    default: return "unary";
    }
}

/* As grpc-go spells them. */
static const char *code_name(unsigned code)
{
    static const char *const names[RPC_CODES] = {
        [GRPC_OK] = "OK",
        [GRPC_CANCELLED] = "Canceled",
        [GRPC_UNKNOWN] = "Unknown",
        [GRPC_INVALID_ARGUMENT] = "InvalidArgument",
        [GRPC_DEADLINE_EXCEEDED] = "DeadlineExceeded",
        [GRPC_NOT_FOUND] = "NotFound",
        [GRPC_ALREADY_EXISTS] = "AlreadyExists",
        [GRPC_PERMISSION_DENIED] = "PermissionDenied",
        [GRPC_RESOURCE_EXHAUSTED] = "ResourceExhausted",
        [GRPC_FAILED_PRECONDITION] = "FailedPrecondition",
        [GRPC_ABORTED] = "Aborted",
        [GRPC_OUT_OF_RANGE] = "OutOfRange",
        [GRPC_UNIMPLEMENTED] = "Unimplemented",
        [GRPC_INTERNAL] = "Internal",
        [GRPC_UNAVAILABLE] = "Unavailable",
        [GRPC_DATA_LOSS] = "DataLoss",
        [GRPC_UNAUTHENTICATED] = "Unauthenticated",
    };
    return names[code];
}

enum { LABELS_MAX = 256 };

static void labels_of(method_t method, char labels[LABELS_MAX])
{
    const method_info_t *info = method_info(method);
    (void)snprintf(labels, LABELS_MAX, "grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"",
                   info->name, info->service, type_name(info->type));
}

static void print_line(buf_t *out, const char *name, method_t method, const char *code,
                       uint64_t value)
{
    char labels[LABELS_MAX];
    char all[LABELS_MAX + 64];
    labels_of(method, labels);
    (void)snprintf(all, sizeof all, "%s%s%s%s", code ? "grpc_code=\"" : "", code ? code : "",
                   code ? "\"," : "", labels);
    metrics_text_value(out, name, all, value);
}

/* Where a block counts messages or calls of a method; the three arrays have one shape. */
typedef const _Atomic uint64_t *(*cells_of_t)(const rpc_metrics_t *block);

static const _Atomic uint64_t *started_of(const rpc_metrics_t *block)
{
    return block->started;
}

static const _Atomic uint64_t *received_of(const rpc_metrics_t *block)
{
    return block->received;
}

static const _Atomic uint64_t *sent_of(const rpc_metrics_t *block)
{
    return block->sent;
}

static void print_family(buf_t *out, const rpc_metrics_t *const *blocks, size_t count,
                         const char *name, const char *help, cells_of_t cells_of)
{
    metrics_text_head(out, name, "counter", help);
    for (unsigned method = 0; method < METHOD_COUNT; method++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < count; i++) {
            sum += rpc_metrics_get(&cells_of(blocks[i])[method]);
        }
        print_line(out, name, (method_t)method, NULL, sum);
    }
}

static void print_handled(buf_t *out, const rpc_metrics_t *const *blocks, size_t count)
{
    const char name[] = "grpc_server_handled_total";
    metrics_text_head(out, name, "counter",
                      "Total number of RPCs completed on the server, regardless of success or "
                      "failure.");
    for (unsigned method = 0; method < METHOD_COUNT; method++) {
        for (unsigned code = 0; code < RPC_CODES; code++) {
            uint64_t sum = 0;
            for (size_t i = 0; i < count; i++) {
                sum += rpc_metrics_get(&blocks[i]->handled[method][code]);
            }
            print_line(out, name, (method_t)method, code_name(code), sum);
        }
    }
}

static void print_handling_of(buf_t *out, const rpc_metrics_t *const *blocks, size_t count,
                              method_t method)
{
    char labels[LABELS_MAX];
    labels_of(method, labels);
    uint64_t total = 0;
    uint64_t sum_us = 0;
    for (size_t i = 0; i < count; i++) {
        sum_us += rpc_metrics_get(&blocks[i]->handling_sum_us[method]);
    }
    for (unsigned bucket = 0; bucket <= RPC_BUCKETS; bucket++) {
        for (size_t i = 0; i < count; i++) {
            total += rpc_metrics_get(&blocks[i]->handling[method][bucket]);
        }
        buf_t all = {0};
        buf_append(&all, labels, strlen(labels));
        buf_append(&all, ",le=\"", 5);
        if (bucket < RPC_BUCKETS) {
            metrics_text_micros(&all, rpc_bucket_bounds_us[bucket]);
        } else {
            buf_append(&all, "+Inf", 4);
        }
        buf_append(&all, "\"", 2); /* and the terminator */
        metrics_text_value(out, "grpc_server_handling_seconds_bucket", (const char *)all.data,
                           total);
        buf_deinit(&all);
    }
    char *start = xasprintf("grpc_server_handling_seconds_sum{%s} ", labels);
    buf_append(out, start, strlen(start));
    free(start);
    metrics_text_micros(out, sum_us);
    buf_byte(out, '\n');
    metrics_text_value(out, "grpc_server_handling_seconds_count", labels, total);
}

/* Texts of clients: what would end the label is escaped, as the format demands. */
static void say_escaped(buf_t *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\\' || *text == '"') {
            buf_byte(out, '\\');
        }
        buf_byte(out, (uint8_t)*text);
    }
}

static void print_client(buf_t *out, const char *type, const char *version, uint64_t count)
{
    if (count == 0) {
        return;
    }
    buf_t labels = {0};
    const char start[] = "client_api_version=\"";
    buf_append(&labels, start, strlen(start));
    say_escaped(&labels, version);
    buf_append(&labels, "\",type=\"", 8);
    buf_append(&labels, type, strlen(type));
    buf_append(&labels, "\"", 2); /* and the terminator */
    metrics_text_value(out, "etcd_server_client_requests_total", (const char *)labels.data, count);
    buf_deinit(&labels);
}

/* The sums of a client's entry over all blocks, which may have it in different places. */
static void add_client(rpc_client_t *clients, unsigned *count, const rpc_client_t *client,
                       const char *version)
{
    unsigned at = 0;
    while (at < *count && strcmp(clients[at].version, version) != 0) {
        at++;
    }
    if (at == *count) {
        (void)snprintf(clients[at].version, sizeof clients[at].version, "%s", version);
        (*count)++;
    }
    clients[at].unary += rpc_metrics_get(&client->unary);
    clients[at].stream += rpc_metrics_get(&client->stream);
}

static void print_clients(buf_t *out, const rpc_metrics_t *const *blocks, size_t count)
{
    rpc_client_t *clients = xcalloc(count * (1 + LIMIT_CLIENT_VERSIONS), sizeof *clients);
    unsigned client_count = 0;
    for (size_t i = 0; i < count; i++) {
        add_client(clients, &client_count, &blocks[i]->clients[0], "other");
        unsigned known = atomic_load_explicit(&blocks[i]->client_count, memory_order_acquire);
        for (unsigned at = 1; at <= known; at++) {
            const rpc_client_t *client = &blocks[i]->clients[at];
            add_client(clients, &client_count, client, client->version);
        }
    }
    metrics_text_head(out, "etcd_server_client_requests_total", "counter",
                      "Calls by what clients name as their version; \"unknown\" = they name none, "
                      "\"other\" = there were too many before.");
    for (unsigned i = 0; i < client_count; i++) {
        print_client(out, "unary", clients[i].version, clients[i].unary);
        print_client(out, "stream", clients[i].version, clients[i].stream);
    }
    free(clients);
}

void rpc_metrics_text(buf_t *out, const rpc_metrics_t *const *blocks, size_t count, bool handling)
{
    print_family(out, blocks, count, "grpc_server_started_total",
                 "Total number of RPCs started on the server.", started_of);
    print_handled(out, blocks, count);
    print_family(out, blocks, count, "grpc_server_msg_received_total",
                 "Total number of RPC stream messages received on the server.", received_of);
    print_family(out, blocks, count, "grpc_server_msg_sent_total",
                 "Total number of gRPC stream messages sent by the server.", sent_of);
    print_clients(out, blocks, count);
    if (!handling) {
        return;
    }
    metrics_text_head(out, "grpc_server_handling_seconds", "histogram",
                      "Histogram of response latency (seconds) of gRPC that had been "
                      "application-level handled by the server.");
    for (unsigned method = 0; method < METHOD_COUNT; method++) {
        print_handling_of(out, blocks, count, (method_t)method);
    }
}
