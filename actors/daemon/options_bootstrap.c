/* The first members of a cluster, from --initial-cluster. Order and words of the checks are etcd's; host
 * names are compared as text, not resolved. */
#include <stdlib.h>
#include <string.h>

#include "actors/core/member_id.h"
#include "actors/daemon/go_value.h"
#include "actors/daemon/options.h"
#include "membership.pb-c.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* "name=url,name=url": the URLs of one name, while they are collected. */
typedef struct {
    char *name;
    buf_t urls; /* with commas between them */
    size_t url_count;
} named_t;

typedef struct {
    named_t *items;
    size_t count, capacity;
} cluster_t;

static named_t *find_or_add(cluster_t *self, const char *name)
{
    for (size_t i = 0; i < self->count; i++) {
        if (strcmp(self->items[i].name, name) == 0) {
            return &self->items[i];
        }
    }
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof *self->items);
    named_t *item = &self->items[self->count++];
    *item = (named_t){.name = xstrdup(name)};
    return item;
}

static void add_pair(cluster_t *self, char *pair)
{
    if (self->count > LIMIT_MEMBERS) {
        return; /* is refused anyway */
    }
    char *url = strchr(pair, '=');
    if (url) {
        *url++ = '\0';
    }
    named_t *item = find_or_add(self, pair);
    if (item->url_count++ > 0) {
        buf_byte(&item->urls, ',');
    }
    if (url) {
        buf_append(&item->urls, url, strlen(url));
    }
}

static void scan_cluster(cluster_t *self, const char *text)
{
    char *copy = xstrdup(text);
    for (char *rest = copy, *pair; (pair = strsep(&rest, ",")) != NULL;) {
        if (*pair) {
            add_pair(self, pair);
        }
    }
    for (size_t i = 0; i < self->count; i++) {
        buf_byte(&self->items[i].urls, '\0');
    }
    free(copy);
}

static void cluster_deinit(cluster_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->items[i].name);
        buf_deinit(&self->items[i].urls);
    }
    free(self->items);
}

/* ---- checks ---- */

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

/* `given`: as many as the text names. */
static bool has_duplicates(const bootstrap_t *self, size_t given)
{
    size_t distinct = 0;
    for (size_t i = 0; i < self->count; i++) {
        distinct += self->members[i].urls.count;
        for (size_t k = 0; k < self->members[i].urls.count; k++) {
            for (size_t j = 0; j < i; j++) {
                if (contains(&self->members[j].urls, self->members[i].urls.items[k].text)) {
                    return true;
                }
            }
        }
    }
    return distinct < given;
}

static char *check_size(const cluster_t *cluster)
{
    if (cluster->count > LIMIT_MEMBERS) {
        return xasprintf("--initial-cluster names more than %d members", LIMIT_MEMBERS);
    }
    size_t bytes = 0;
    for (size_t i = 0; i < cluster->count; i++) {
        bytes += strlen(cluster->items[i].name) + cluster->items[i].urls.len;
    }
    return bytes > LIMIT_WAL_CONFIGURATION_BYTES / 2 ? xstrdup("--initial-cluster is too long")
                                                     : NULL;
}

/* ---- the members ---- */

static int by_id(const void *a, const void *b)
{
    uint64_t left = ((const bootstrap_member_t *)a)->id;
    uint64_t right = ((const bootstrap_member_t *)b)->id;
    return left < right ? -1 : left > right;
}

static char *add_members(const options_t *options, const cluster_t *cluster, bootstrap_t *out)
{
    out->members = xcalloc(cluster->count + 1, sizeof *out->members);
    for (size_t i = 0; i < cluster->count; i++) {
        bootstrap_member_t *member = &out->members[out->count++];
        member->name = xstrdup(cluster->items[i].name);
        char *error = urls_parse(&member->urls, (const char *)cluster->items[i].urls.data);
        if (error) {
            char *text = xasprintf("error setting up initial cluster: %s", error);
            free(error);
            return text;
        }
        member->id = member_id(&member->urls, options->initial_cluster_token);
    }
    qsort(out->members, out->count, sizeof *out->members, by_id);
    return NULL;
}

static void find_own(bootstrap_t *self, const char *name)
{
    for (size_t i = 0; i < self->count; i++) {
        if (strcmp(self->members[i].name, name) == 0) {
            self->own = &self->members[i];
        }
    }
}

static uint64_t id_of_cluster(const bootstrap_t *self)
{
    uint64_t *ids = xcalloc(self->count, sizeof *ids);
    for (size_t i = 0; i < self->count; i++) {
        ids[i] = self->members[i].id;
    }
    uint64_t id = cluster_id(ids, self->count);
    free(ids);
    return id;
}

static char *check(const options_t *options, const cluster_t *cluster, bootstrap_t *out)
{
    char *error = check_size(cluster);
    if (!error) {
        error = add_members(options, cluster, out);
    }
    if (error) {
        return error;
    }
    find_own(out, options->name);
    if (!out->own) {
        char *quoted = go_quote(options->name);
        error =
            xasprintf("couldn't find local name %s in the initial cluster configuration", quoted);
        free(quoted);
        return error;
    }
    error = options->join_existing ? NULL : compare_urls(options, &out->own->urls);
    if (error) {
        return error;
    }
    size_t given = 0;
    for (size_t i = 0; i < cluster->count; i++) {
        given += cluster->items[i].url_count;
    }
    if (has_duplicates(out, given)) {
        return xasprintf("initial cluster %s has duplicate url", options->initial_cluster);
    }
    return NULL;
}

char *options_bootstrap(const options_t *self, bootstrap_t *out)
{
    *out = (bootstrap_t){0};
    cluster_t cluster = {0};
    scan_cluster(&cluster, self->initial_cluster);
    char *error = check(self, &cluster, out);
    cluster_deinit(&cluster);
    if (!error) {
        out->cluster_id = id_of_cluster(out);
    }
    return error;
}

void bootstrap_deinit(bootstrap_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->members[i].name);
        urls_deinit(&self->members[i].urls);
    }
    free(self->members);
    *self = (bootstrap_t){0};
}

const char **bootstrap_other_urls(const bootstrap_t *self, size_t *count)
{
    const char **urls = NULL;
    size_t capacity = 0;
    *count = 0;
    for (size_t i = 0; i < self->count; i++) {
        const bootstrap_member_t *member = &self->members[i];
        for (size_t k = 0; member != self->own && k < member->urls.count; k++) {
            urls = xgrow(urls, &capacity, *count + 1, sizeof *urls);
            urls[(*count)++] = member->urls.items[k].text;
        }
    }
    return urls;
}

bytes_t *bootstrap_configuration(const bootstrap_t *self)
{
    Quoral__Configuration configuration = QUORAL__CONFIGURATION__INIT;
    Quoral__ConfigurationMember *members = xcalloc(self->count, sizeof *members);
    Quoral__ConfigurationMember **list = xcalloc(self->count, sizeof *list);
    char **urls = xcalloc(self->count * LIMIT_URLS, sizeof *urls);
    for (size_t i = 0; i < self->count; i++) {
        const bootstrap_member_t *member = &self->members[i];
        quoral__configuration_member__init(&members[i]);
        members[i].id = member->id;
        members[i].name = member->name;
        members[i].peer_urls = urls + i * LIMIT_URLS;
        members[i].n_peer_urls = member->urls.count;
        for (size_t k = 0; k < member->urls.count; k++) {
            members[i].peer_urls[k] = member->urls.items[k].text;
        }
        list[i] = &members[i];
    }
    configuration.members = list;
    configuration.n_members = self->count;
    uint8_t *room = NULL;
    bytes_t *encoded = bytes_alloc(quoral__configuration__get_packed_size(&configuration), &room);
    quoral__configuration__pack(&configuration, room);
    free(urls);
    free(list);
    free(members);
    return encoded;
}
