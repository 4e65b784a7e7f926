/* The first member of a new cluster, from --initial-cluster. Order and words of the checks are
 * etcd's; host names are compared as text, not resolved. */
#include <stdlib.h>
#include <string.h>

#include "actors/daemon/go_value.h"
#include "actors/core/member_id.h"
#include "actors/daemon/options.h"
#include "messages/xalloc.h"

/* What "name=url,name=url" says about one member. */
typedef struct {
    buf_t urls; /* with commas between them */
    size_t url_count;
    bool has_others; /* it names other members too */
} members_t;

static void scan_cluster(const options_t *options, members_t *out)
{
    char *copy = xstrdup(options->initial_cluster);
    char *rest = copy;
    while (rest) {
        char *name = strsep(&rest, ",");
        if (*name == '\0') {
            continue;
        }
        char *url = strchr(name, '=');
        if (url) {
            *url++ = '\0';
        }
        if (strcmp(name, options->name) != 0) {
            out->has_others = true;
            continue;
        }
        if (out->url_count++ > 0) {
            buf_byte(&out->urls, ',');
        }
        if (url) {
            buf_append(&out->urls, url, strlen(url));
        }
    }
    buf_byte(&out->urls, '\0');
    free(copy);
}

static bool contains(const urls_t *urls, const char *text)
{
    for (size_t i = 0; i < urls->count; i++) {
        if (strcmp(urls->items[i].text, text) == 0) {
            return true;
        }
    }
    return false;
}

static char *compare_urls(const options_t *options, const urls_t *urls)
{
    const urls_t *advertised = &options->advertise_peer;
    for (size_t i = 0; i < urls->count; i++) {
        if (!contains(advertised, urls->items[i].text)) {
            char *list = urls_text(advertised);
            char *error = xasprintf("--initial-cluster has %s=%s but missing from "
                                    "--initial-advertise-peer-urls=%s",
                                    options->name, urls->items[i].text, list);
            free(list);
            return error;
        }
    }
    for (size_t i = 0; i < advertised->count; i++) {
        if (!contains(urls, advertised->items[i].text)) {
            return xasprintf("--initial-advertise-peer-urls has %s but missing from "
                             "--initial-cluster=%s",
                             advertised->items[i].text, options->initial_cluster);
        }
    }
    return NULL;
}

static char *check(const options_t *options, const members_t *members, urls_t *urls)
{
    if (members->url_count == 0) {
        char *quoted = go_quote(options->name);
        char *error =
            xasprintf("couldn't find local name %s in the initial cluster configuration", quoted);
        free(quoted);
        return error;
    }
    char *error = urls_parse(urls, (const char *)members->urls.data);
    if (error) {
        char *text = xasprintf("error setting up initial cluster: %s", error);
        free(error);
        return text;
    }
    if (members->has_others) {
        return xstrdup("--initial-cluster names several members: clusters of more than one member "
                       "are not supported yet");
    }
    error = compare_urls(options, urls);
    if (error) {
        return error;
    }
    if (urls->count != members->url_count) {
        return xasprintf("initial cluster %s has duplicate url", options->initial_cluster);
    }
    if (options->join_existing) {
        return xstrdup("--initial-cluster-state=existing: joining a cluster is not supported yet");
    }
    return NULL;
}

char *options_bootstrap(const options_t *self, bootstrap_t *out)
{
    members_t members = {0};
    urls_t urls = {0};
    scan_cluster(self, &members);
    char *error = check(self, &members, &urls);
    if (!error) {
        out->member_id = member_id(&urls, self->initial_cluster_token);
        uint64_t all[] = {out->member_id};
        out->cluster_id = cluster_id(all, 1);
    }
    urls_deinit(&urls);
    buf_deinit(&members.urls);
    return error;
}
