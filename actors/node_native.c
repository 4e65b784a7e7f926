#include "actors/node_native.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "actors/grpc_gateway/gateway.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

enum { HEARTBEAT_US = 1000000, LINGER_US = 5000000 };

char *node_listen(const url_t *url, bool reuse_port, int *fd_p)
{
    gateway_address_t address = {.host = url->host,
                                 .port = url->port,
                                 .is_unix = url_is_unix(url),
                                 .reuse_port = reuse_port};
    char *error = NULL;
    *fd_p = gateway_listen(&address, &error);
    if (*fd_p >= 0) {
        return NULL;
    }
    char *text = xasprintf("cannot listen on %s: %s", url->text, error);
    free(error);
    return text;
}

typedef char *(*take_t)(zmq_gateway_shell_t *shell, int fd, bool is_unix);

/* Listens on all of them, or none. *port: of the first that is TCP; 0 = none. */
static char *listen_on_all(const node_native_cfg_t *cfg, const urls_t *urls, take_t take,
                           zmq_gateway_shell_t *shell, uint32_t *port)
{
    char *error = NULL;
    *port = 0;
    for (size_t i = 0; i < urls->count && !error; i++) {
        const url_t *url = &urls->items[i];
        int fd = -1;
        error = node_listen(url, cfg->options->socket_reuse_port, &fd);
        if (!error) {
            char *reason = take(shell, fd, url_is_unix(url));
            error = reason ? xasprintf("cannot listen on %s: %s", url->text, reason) : NULL;
            free(reason);
        }
        if (!error && !url_is_unix(url) && *port == 0) {
            *port = (uint32_t)strtoul(url->port, NULL, 10);
        }
    }
    return error;
}

/* Nobody has asked for a derived address by name: who has taken it may keep it. */
static char *forgive(const node_native_cfg_t *cfg, flag_t flag, bool is_derived, char *error)
{
    if (!error || !is_derived) {
        return error;
    }
    char *text =
        xasprintf("%s: native clients are not served there; --%s names another address, or none",
                  error, flag_info(flag)->name);
    log_write(cfg->log, LEVEL_WARN, LOG_HERE, text, "");
    free(text);
    free(error);
    return NULL;
}

static zmq_gateway_t *new_core(const node_native_cfg_t *cfg, zmq_gateway_shell_t *shell)
{
    const options_t *options = cfg->options;
    const char *urls[LIMIT_URLS];
    for (size_t i = 0; i < options->advertise_publish.count; i++) {
        urls[i] = options->advertise_publish.items[i].text;
    }
    zmq_gateway_cfg_t core = {
        .api = *cfg->api,
        .sessions = {.cluster_id = cfg->api->cluster_id,
                     .member_id = cfg->api->member_id,
                     .heartbeat_us = HEARTBEAT_US,
                     .window_octets = LIMIT_NATIVE_WINDOW_OCTETS,
                     .calls_max = LIMIT_NATIVE_CALLS,
                     .clients_max = LIMIT_NATIVE_CLIENTS,
                     .message_bytes_max = options->max_request_bytes + LIMIT_REQUEST_OVERHEAD_BYTES,
                     .progress_ms = (uint32_t)(options->native_progress_us / 1000),
                     .publish_urls = urls,
                     .publish_url_count = options->advertise_publish.count},
        .publisher = {.cluster_id = cfg->api->cluster_id,
                      .progress_us = options->native_progress_us,
                      .linger_us = LINGER_US,
                      .registrations_max = LIMIT_NATIVE_REGISTRATIONS,
                      .registration_bytes_max = LIMIT_NATIVE_REGISTRATION_BYTES},
    };
    core.api.origin = cfg->origin;
    core.api.publishes = false;
    core.api.seed += 1; /* ids of leases must differ from the other gateway's */
    publisher_sink_t sink = zmq_gateway_shell_sink(shell);
    return zmq_gateway_new(&core, &sink, cfg->metrics);
}

char *node_native_new(const node_native_cfg_t *cfg, node_native_t *out)
{
    const options_t *options = cfg->options;
    zmq_gateway_shell_cfg_t shell = {.message_bytes_max =
                                         options->max_request_bytes + LIMIT_REQUEST_OVERHEAD_BYTES,
                                     .metrics = cfg->metrics,
                                     .curve = cfg->curve,
                                     .is_talkative = log_is_on(cfg->log, LEVEL_DEBUG),
                                     .log = cfg->log_actor,
                                     .log_context = cfg->log};
    out->shell = zmq_gateway_shell_new(&shell);
    out->core = new_core(cfg, out->shell);
    out->rpc = zmq_gateway_rpc_metrics(out->core);
    zmq_gateway_shell_attach(out->shell, out->core);
    uint32_t port = 0;
    char *error =
        listen_on_all(cfg, &options->listen_native, zmq_gateway_shell_requests, out->shell, &port);
    error = forgive(cfg, FLAG_LISTEN_NATIVE, options->native_is_derived, error);
    if (!error) {
        error = listen_on_all(cfg, &options->listen_publish, zmq_gateway_shell_events, out->shell,
                              &port);
        sessions_set_publish_port(zmq_gateway_sessions(out->core), error ? 0 : port);
        error = forgive(cfg, FLAG_LISTEN_PUBLISH, options->publish_is_derived, error);
    }
    return error;
}
