/* The native side's addresses: tcp://host:port and ipc://path, as ZeroMQ spells them; http:// and unix:// mean
 * the same, as for peers. Each is checked by the rules for URLs and shown as ZeroMQ spells it. */
#include <stdlib.h>
#include <string.h>

#include "actors/daemon/options_steps.h"
#include "messages/xalloc.h"

enum { REQUEST_PORT_OFFSET = 2, PUBLISH_PORT_OFFSET = 3, PROGRESS_MIN_US = 10000 };

static const struct {
    const char *zmq, *url;
} schemes[] = {{"tcp://", "http://"}, {"ipc://", "unix://"}};

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* One URL in ZeroMQ's spelling as one the parser knows. */
static void append_url(buf_t *out, const char *text, size_t len)
{
    while (len > 0 && *text == ' ') {
        text++;
        len--;
    }
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t skip = strlen(schemes[i].zmq);
        if (starts_with(text, schemes[i].zmq)) {
            buf_append(out, schemes[i].url, strlen(schemes[i].url));
            text += skip;
            len -= skip;
        }
    }
    buf_append(out, text, len);
}

static void show_as_zmq(urls_t *urls)
{
    for (size_t i = 0; i < urls->count; i++) {
        url_t *url = &urls->items[i];
        bool is_v6 = strchr(url->host, ':') && !url_is_unix(url);
        free(url->text);
        url->text = url_is_unix(url)
                        ? xasprintf("ipc://%s", url->host)
                        : xasprintf(is_v6 ? "tcp://[%s]:%s" : "tcp://%s:%s", url->host, url->port);
    }
}

static char *explain(flag_t flag, char *error)
{
    char *text = xasprintf("--%s: %s (expected tcp://host:port or ipc://path)",
                           flag_info(flag)->name, error);
    free(error);
    return text;
}

static char *parse(flag_t flag, const char *text, urls_t *out)
{
    buf_t mapped = {0};
    for (const char *rest = text; *rest;) {
        size_t len = strcspn(rest, ",");
        append_url(&mapped, rest, len);
        rest += len;
        if (*rest == ',') {
            buf_byte(&mapped, ',');
            rest++;
        }
    }
    buf_byte(&mapped, '\0');
    char *error = urls_parse(out, (const char *)mapped.data);
    buf_deinit(&mapped);
    for (size_t i = 0; i < out->count && !error; i++) {
        if (url_is_encrypted(&out->items[i])) {
            error = xasprintf("%s: TLS is not for ZeroMQ", out->items[i].text);
        }
    }
    show_as_zmq(out);
    for (size_t i = 0; i < out->count && !error; i++) {
        const url_t *url = &out->items[i];
        if (!url_is_unix(url) && *url->port == '\0') {
            error = xasprintf("%s names no port", url->text);
        }
    }
    return error ? explain(flag, error) : NULL;
}

/* The first client URL's host and a port above it; nothing if it has none. */
static void derive(const urls_t *client, unsigned long offset, urls_t *out)
{
    const url_t *first = client->count ? &client->items[0] : NULL;
    unsigned long port = first ? strtoul(first->port, NULL, 10) : 0;
    if (!first || url_is_unix(first) || port == 0 || port + offset > 65535) {
        return;
    }
    *out = (urls_t){.items = xcalloc(1, sizeof *out->items), .count = 1};
    out->items[0] = (url_t){.text = xstrdup(""),
                            .scheme = xstrdup("http"),
                            .host = xstrdup(first->host),
                            .port = xasprintf("%lu", port + offset)};
    show_as_zmq(out);
}

static char *check_listen(const flag_set_t *flags, flag_t flag, unsigned long offset,
                          const urls_t *client, urls_t *out, bool *is_derived)
{
    const flag_value_t *value = &flags->values[flag];
    *is_derived = !value->is_set;
    if (!value->is_set) {
        derive(client, offset, out);
        return NULL;
    }
    if (*value->text == '\0' || strcmp(value->text, "none") == 0) {
        return NULL;
    }
    char *error = parse(flag, value->text, out);
    if (error) {
        return error;
    }
    error = urls_check_bind(out);
    return error ? explain(flag, error) : NULL;
}

static char *check_advertise(const flag_set_t *flags, urls_t *out)
{
    const char *text = flags->values[FLAG_ADVERTISE_PUBLISH].text;
    if (*text == '\0') {
        return NULL;
    }
    char *error = parse(FLAG_ADVERTISE_PUBLISH, text, out);
    if (error) {
        return error;
    }
    error = urls_check_host(out);
    return error ? explain(FLAG_ADVERTISE_PUBLISH, error) : NULL;
}

char *options_check_native(const flag_set_t *flags, options_t *self)
{
    int64_t nanoseconds = flags->values[FLAG_NATIVE_PROGRESS].integer;
    if (nanoseconds < PROGRESS_MIN_US * INT64_C(1000) || nanoseconds > INT64_C(3600) * 1000000000) {
        return xstrdup("--native-progress-interval must be between 10ms and 1h");
    }
    self->native_progress_us = (uint64_t)nanoseconds / 1000;
    char *error = check_listen(flags, FLAG_LISTEN_NATIVE, REQUEST_PORT_OFFSET, &self->listen_client,
                               &self->listen_native, &self->native_is_derived);
    if (!error) {
        error = check_listen(flags, FLAG_LISTEN_PUBLISH, PUBLISH_PORT_OFFSET, &self->listen_client,
                             &self->listen_publish, &self->publish_is_derived);
    }
    return error ? error : check_advertise(flags, &self->advertise_publish);
}
