#include "actors/core/member_id.h"

#include <sha1.h>
#include <stdlib.h>
#include <string.h>

#include "messages/buf.h"

static uint64_t first_bytes_of_sha1(const buf_t *text)
{
    uint8_t digest[SHA1_DIGEST_LENGTH];
    SHA1_CTX context;
    SHA1Init(&context);
    SHA1Update(&context, text->data, text->len);
    SHA1Final(digest, &context);
    uint64_t id = 0;
    for (size_t i = 0; i < 8; i++) {
        id = id << 8 | digest[i];
    }
    return id;
}

uint64_t member_id(const urls_t *peer_urls, const char *mark)
{
    buf_t text = {0};
    for (size_t i = 0; i < peer_urls->count; i++) {
        buf_append(&text, peer_urls->items[i].text, strlen(peer_urls->items[i].text));
    }
    buf_append(&text, mark, strlen(mark));
    uint64_t id = first_bytes_of_sha1(&text);
    buf_deinit(&text);
    return id;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

uint64_t cluster_id(uint64_t *members, size_t count)
{
    qsort(members, count, sizeof *members, compare_ids);
    buf_t text = {0};
    for (size_t i = 0; i < count; i++) {
        for (int shift = 56; shift >= 0; shift -= 8) {
            buf_byte(&text, (uint8_t)(members[i] >> shift));
        }
    }
    uint64_t id = first_bytes_of_sha1(&text);
    buf_deinit(&text);
    return id;
}
