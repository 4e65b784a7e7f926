#include "actors/daemon/join.h"

#include <stdlib.h>
#include <string.h>

#include "membership.pb-c.h"
#include "messages/xalloc.h"

/* Checked by configuration_decode before it came here; NULL only if that was forgotten. */
static Quoral__Configuration *unpack(slice_t encoded)
{
    return quoral__configuration__unpack(NULL, encoded.len, encoded.data);
}

static bytes_t *pack(const Quoral__Configuration *configuration)
{
    uint8_t *room = NULL;
    bytes_t *encoded = bytes_alloc(quoral__configuration__get_packed_size(configuration), &room);
    quoral__configuration__pack(configuration, room);
    return encoded;
}

static bool has_urls(const Quoral__ConfigurationMember *member, const urls_t *urls)
{
    if (member->n_peer_urls != urls->count) {
        return false;
    }
    for (size_t i = 0; i < urls->count; i++) {
        bool found = false;
        for (size_t k = 0; k < member->n_peer_urls && !found; k++) {
            found = strcmp(member->peer_urls[k], urls->items[i].text) == 0;
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static const Quoral__ConfigurationMember *find_urls(const Quoral__Configuration *configuration,
                                                    const urls_t *urls)
{
    for (size_t i = 0; i < configuration->n_members; i++) {
        if (has_urls(configuration->members[i], urls)) {
            return configuration->members[i];
        }
    }
    return NULL;
}

static char *list_urls(const bootstrap_t *named)
{
    buf_t text = {0};
    for (size_t i = 0; i < named->count; i++) {
        char *urls = urls_text(&named->members[i].urls);
        char *part = xasprintf("%s%s=%s", i ? "," : "", named->members[i].name, urls);
        buf_append(&text, part, strlen(part));
        free(part);
        free(urls);
    }
    buf_byte(&text, '\0');
    return (char *)text.data;
}

static const char *why_not(const bootstrap_t *named, const Quoral__Configuration *configuration)
{
    if (named->count != configuration->n_members) {
        return "member count is unequal";
    }
    for (size_t i = 0; i < named->count; i++) {
        if (!find_urls(configuration, &named->members[i].urls)) {
            return "unmatched member while checking PeerURLs";
        }
    }
    return NULL;
}

char *join_match(const bootstrap_t *named, slice_t configuration, uint64_t *member_id)
{
    Quoral__Configuration *existing = unpack(configuration);
    const char *why = existing ? why_not(named, existing) : "the answer cannot be decoded";
    char *error = NULL;
    if (why) {
        char *list = list_urls(named);
        error = xasprintf("error validating peerURLs %s: %s", list, why);
        free(list);
    } else {
        *member_id = find_urls(existing, &named->own->urls)->id;
    }
    quoral__configuration__free_unpacked(existing, NULL);
    return error;
}

bool join_knows(const bootstrap_t *named, slice_t configuration)
{
    Quoral__Configuration *existing = unpack(configuration);
    bool knows = existing && find_urls(existing, &named->own->urls);
    quoral__configuration__free_unpacked(existing, NULL);
    return knows;
}

bytes_t *join_configuration(slice_t configuration, uint64_t member_id)
{
    Quoral__Configuration *existing = unpack(configuration);
    for (size_t i = 0; existing && i < existing->n_members; i++) {
        existing->members[i]->learner |= existing->members[i]->id == member_id;
    }
    bytes_t *encoded = existing ? pack(existing) : bytes_new(NULL, 0);
    quoral__configuration__free_unpacked(existing, NULL);
    return encoded;
}

/* ---- alone ---- */

static void add_removed(uint64_t *ids, size_t *count, uint64_t id)
{
    for (size_t i = 0; i < *count; i++) {
        if (ids[i] == id) {
            return;
        }
    }
    ids[(*count)++] = id;
}

static bytes_t *pack_alone(const Quoral__Configuration *existing, uint64_t member_id,
                           const urls_t *urls)
{
    Quoral__Configuration alone = QUORAL__CONFIGURATION__INIT;
    Quoral__ConfigurationMember member = QUORAL__CONFIGURATION_MEMBER__INIT;
    Quoral__ConfigurationMember *list[] = {&member};
    size_t removed = 0;
    uint64_t *ids = xcalloc(existing->n_members + existing->n_removed_ids + 1, sizeof *ids);
    char **texts = xcalloc(urls->count + 1, sizeof *texts);
    for (size_t i = 0; i < existing->n_removed_ids; i++) {
        add_removed(ids, &removed, existing->removed_ids[i]);
    }
    for (size_t i = 0; i < urls->count; i++) {
        texts[i] = urls->items[i].text;
    }
    member.id = member_id;
    member.peer_urls = texts;
    member.n_peer_urls = urls->count;
    for (size_t i = 0; i < existing->n_members; i++) {
        if (existing->members[i]->id == member_id) {
            member = *existing->members[i];
            member.learner = false;
        } else {
            add_removed(ids, &removed, existing->members[i]->id);
        }
    }
    alone.members = list;
    alone.n_members = 1;
    alone.removed_ids = ids;
    alone.n_removed_ids = removed;
    bytes_t *encoded = pack(&alone);
    free(texts);
    free(ids);
    return encoded;
}

bytes_t *alone_configuration(slice_t configuration, uint64_t member_id, const urls_t *urls)
{
    Quoral__Configuration *existing = unpack(configuration);
    bytes_t *encoded = NULL;
    if (existing && (existing->n_members != 1 || existing->members[0]->id != member_id ||
                     existing->members[0]->learner)) {
        encoded = pack_alone(existing, member_id, urls);
    }
    quoral__configuration__free_unpacked(existing, NULL);
    return encoded;
}
