#include "actors/curve/allowed_keys.h"

#include <stdlib.h>

#include "messages/xalloc.h"

void allowed_keys_deinit(allowed_keys_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->items[i].file);
        free(self->items[i].peer_urls);
    }
    free(self->items);
    *self = (allowed_keys_t){0};
}

/* Where the key stands, or would. */
static size_t place_of(const allowed_keys_t *self, const uint8_t key[CURVE_KEY_BYTES])
{
    size_t low = 0;
    size_t high = self->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(self->items[middle].key, key, CURVE_KEY_BYTES) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const allowed_key_t *allowed_keys_find(const allowed_keys_t *self,
                                       const uint8_t key[CURVE_KEY_BYTES])
{
    size_t place = place_of(self, key);
    bool found = place < self->count && memcmp(self->items[place].key, key, CURVE_KEY_BYTES) == 0;
    return found ? &self->items[place] : NULL;
}

static void insert(allowed_keys_t *self, const char *file, const curve_certificate_t *certificate)
{
    size_t place = place_of(self, certificate->public_key);
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof *self->items);
    memmove(&self->items[place + 1], &self->items[place],
            (self->count - place) * sizeof *self->items);
    self->count++;
    allowed_key_t *item = &self->items[place];
    *item = (allowed_key_t){.file = xstrdup(file), .peer_urls = xstrdup(certificate->peer_urls)};
    memcpy(item->key, certificate->public_key, CURVE_KEY_BYTES);
}

char *allowed_keys_add(allowed_keys_t *self, const char *file, slice_t content)
{
    curve_certificate_t certificate;
    char *error = curve_certificate_parse(content, &certificate);
    const allowed_key_t *known = error ? NULL : allowed_keys_find(self, certificate.public_key);
    if (!error && certificate.has_secret) {
        error = xstrdup("it holds a secret key, which does not belong here");
    } else if (!error && known) {
        error = xasprintf("its key is the one of %s", known->file);
    } else if (!error) {
        insert(self, file, &certificate);
    }
    curve_certificate_deinit(&certificate);
    return error;
}

bool allowed_key_is_of_url(const allowed_key_t *self, const char *url)
{
    for (const char *rest = self->peer_urls; *rest; rest += strspn(rest, ", ")) {
        size_t len = strcspn(rest, ", ");
        if (len > 0 && slice_equal(slice(rest, len), slice_str(url))) {
            return true;
        }
        rest += len;
    }
    return false;
}

const allowed_key_t *allowed_keys_of_url(const allowed_keys_t *self, const char *url, size_t turn)
{
    size_t matches = 0;
    for (size_t i = 0; i < self->count; i++) {
        matches += allowed_key_is_of_url(&self->items[i], url);
    }
    size_t skip = matches ? turn % matches : 0;
    for (size_t i = 0; i < self->count; i++) {
        if (allowed_key_is_of_url(&self->items[i], url) && skip-- == 0) {
            return &self->items[i];
        }
    }
    return NULL;
}

size_t allowed_keys_lost(const allowed_keys_t *self, const allowed_keys_t *before)
{
    size_t lost = 0;
    for (size_t i = 0; i < before->count; i++) {
        lost += !allowed_keys_find(self, before->items[i].key);
    }
    return lost;
}

bool allowed_keys_equal(const allowed_keys_t *a, const allowed_keys_t *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++) {
        const allowed_key_t *x = &a->items[i];
        const allowed_key_t *y = &b->items[i];
        equal = memcmp(x->key, y->key, CURVE_KEY_BYTES) == 0 && strcmp(x->file, y->file) == 0 &&
                strcmp(x->peer_urls, y->peer_urls) == 0;
    }
    return equal;
}
