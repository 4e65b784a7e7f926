/* Invariant: the socket is open in all states but DISCONNECTED; `session` exists exactly from
 * HANDSHAKE on. */
#include "client/grpc_connection_shell.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES       65536
#define WRITE_BYTES      65536
#define BACKOFF_FIRST_MS 20 /* a server that is just starting answers soon */
#define BACKOFF_MAX_MS   1000
#define READS_PER_TURN   16 /* so that deadlines are looked at while a server floods */

int64_t grpc_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void grpc_connection_init(grpc_connection_t *self, const grpc_connection_cfg_t *cfg,
                          grpc_endpoint_t *endpoint)
{
    *self = (grpc_connection_t){.cfg = cfg, .endpoint = *endpoint};
    *endpoint = (grpc_endpoint_t){0};
    grpc_dial_init(&self->dial);
}

void grpc_connection_deinit(grpc_connection_t *self)
{
    grpc_dial_close(&self->dial);
    grpc_session_destroy(&self->session);
    grpc_buffer_deinit(&self->out);
    grpc_endpoint_deinit(&self->endpoint);
}

bool grpc_connection_usable(const grpc_connection_t *self)
{
    return self->state == GRPC_CONNECTED && self->broken[0] == 0 &&
           !grpc_session_draining(self->session);
}

/* ---- coming and going ---- */

static void disconnect(grpc_connection_t *self, const char *reason)
{
    char copy[GRPC_REASON_BYTES]; /* it may be self->broken */
    snprintf(copy, sizeof copy, "%s", reason);
    grpc_dial_close(&self->dial);
    self->state = GRPC_DISCONNECTED;
    grpc_session_destroy(&self->session);
    grpc_buffer_deinit(&self->out);
    self->broken[0] = 0;
    self->cfg->on_lost(self->cfg->arg, self, copy);
}

static void dial_failed(grpc_connection_t *self, const char *reason)
{
    size_t doublings = self->failures < 6 ? self->failures : 6;
    int64_t pause = (int64_t)BACKOFF_FIRST_MS << doublings;
    self->failures++;
    self->retry_at_ms = grpc_now_ms() + (pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS);
    disconnect(self, reason);
}

static void lose(grpc_connection_t *self, const char *reason)
{
    if (self->state == GRPC_CONNECTED) {
        /* Not at once: it may be a server that closes every connection it has accepted. */
        self->retry_at_ms = grpc_now_ms() + BACKOFF_FIRST_MS;
        disconnect(self, reason);
    } else {
        dial_failed(self, reason);
    }
}

static void on_dial_outcome(grpc_connection_t *self, int outcome, const char *reason)
{
    switch (outcome) {
    case 0:
        self->session = grpc_session_new(self->endpoint.authority);
        self->state = GRPC_HANDSHAKE;
        break;
    case GRPC_DIAL_PENDING: self->state = GRPC_CONNECTING; break;
    default: dial_failed(self, reason); break;
    }
}

static void dial(grpc_connection_t *self, int64_t now_ms)
{
    const char *reason = NULL;
    self->dial_deadline_ms = now_ms + self->cfg->dial_timeout_ms;
    int outcome = grpc_dial_start(&self->dial, &self->endpoint, &reason);
    on_dial_outcome(self, outcome, reason);
}

/* ---- the socket ---- */

static void read_socket(grpc_connection_t *self)
{
    uint8_t data[READ_BYTES];
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t size = read(self->dial.fd, data, sizeof data);
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0 && errno == EAGAIN) {
            return;
        }
        if (size <= 0) {
            char reason[128];
            snprintf(reason, sizeof reason, "error reading from server: %s",
                     size == 0 ? "EOF" : strerror(errno));
            lose(self, reason);
            return;
        }
        self->heard_at_ms = grpc_now_ms();
        self->pinged = false;
        const char *reason = NULL;
        if (grpc_session_feed(self->session, data, (size_t)size, &reason) != 0) {
            lose(self, reason);
            return;
        }
        if (self->state == GRPC_HANDSHAKE && grpc_session_ready(self->session)) {
            self->state = GRPC_CONNECTED;
            self->failures = 0;
        }
        if ((size_t)size < sizeof data) {
            return;
        }
    }
}

void grpc_connection_flush(grpc_connection_t *self)
{
    while (self->session != NULL && self->broken[0] == 0) {
        grpc_session_output(self->session, &self->out, WRITE_BYTES);
        size_t size = grpc_buffer_size(&self->out);
        if (size == 0) {
            return;
        }
        ssize_t n = send(self->dial.fd, grpc_buffer_head(&self->out), size, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0 && errno != EINTR) {
            snprintf(self->broken, sizeof self->broken, "error writing to server: %s",
                     strerror(errno));
        }
        if (n > 0) {
            grpc_buffer_consume(&self->out, (size_t)n);
        }
    }
}

struct pollfd grpc_connection_pollfd(grpc_connection_t *self)
{
    struct pollfd result = {.fd = self->dial.fd};
    if (self->state == GRPC_CONNECTING) {
        result.events = POLLOUT;
    } else if (self->state != GRPC_DISCONNECTED) {
        grpc_connection_flush(self);
        result.events = grpc_buffer_size(&self->out) > 0 ? POLLIN | POLLOUT : POLLIN;
    }
    return result;
}

void grpc_connection_process(grpc_connection_t *self, short revents)
{
    if (self->state == GRPC_CONNECTING) {
        const char *reason = NULL;
        int outcome = grpc_dial_continue(&self->dial, &reason);
        on_dial_outcome(self, outcome, reason);
    } else if (self->state != GRPC_DISCONNECTED && (revents & ~POLLOUT) != 0) {
        read_socket(self);
    }
}

/* ---- time ---- */

static int64_t keepalive_due_ms(const grpc_connection_t *self)
{
    if (self->state != GRPC_CONNECTED || self->cfg->keepalive_time_ms <= 0 ||
        grpc_session_calls(self->session) == 0) {
        return INT64_MAX;
    }
    int64_t due = self->heard_at_ms + self->cfg->keepalive_time_ms;
    return self->pinged ? due + self->cfg->keepalive_timeout_ms : due;
}

static bool is_dialling(const grpc_connection_t *self)
{
    return self->state == GRPC_CONNECTING || self->state == GRPC_HANDSHAKE;
}

void grpc_connection_tick(grpc_connection_t *self, int64_t now_ms, bool wanted)
{
    if (self->broken[0] != 0) {
        lose(self, self->broken);
    }
    if (is_dialling(self) && now_ms >= self->dial_deadline_ms) {
        dial_failed(self, "dial timeout");
    }
    if (now_ms >= keepalive_due_ms(self)) {
        if (self->pinged) {
            lose(self, "keepalive ping failed to receive ACK within timeout");
        } else {
            self->pinged = true;
            grpc_session_ping(self->session);
        }
    }
    /* A draining connection is left when its last call ended. */
    if (self->state == GRPC_CONNECTED && grpc_session_draining(self->session) &&
        grpc_session_calls(self->session) == 0) {
        lose(self, "the server closes the connection");
    }
    if (self->state == GRPC_DISCONNECTED && wanted && now_ms >= self->retry_at_ms) {
        dial(self, now_ms);
    }
}

int64_t grpc_connection_due_ms(const grpc_connection_t *self, bool wanted)
{
    if (self->broken[0] != 0) {
        return 0;
    }
    if (is_dialling(self)) {
        return self->dial_deadline_ms;
    }
    if (self->state == GRPC_DISCONNECTED) {
        return wanted ? self->retry_at_ms : INT64_MAX;
    }
    return keepalive_due_ms(self);
}
