#include "client/native/client_instance.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/json.h"
#include "messages/xalloc.h"

static const char *const state_names[] = {[CLIENT_INSTANCE_READY] = "ready",
                                          [CLIENT_INSTANCE_UNREADY] = "unready",
                                          [CLIENT_INSTANCE_DRAINING] = "draining"};

static void append_text(buf_t *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

void client_instance_write(buf_t *out, const client_instance_t *instance)
{
    append_text(out, "{\"address\":");
    buf_json_string(out, slice_str(instance->address));
    append_text(out, ",\"metadata\":{");
    for (size_t i = 0; i < instance->metadata_n; i++) {
        append_text(out, i ? "," : "");
        buf_json_string(out, slice_str(instance->metadata[i].name));
        append_text(out, ":");
        buf_json_string(out, slice_str(instance->metadata[i].value));
    }
    char rest[64];
    snprintf(rest, sizeof rest, "},\"weight\":%u,\"state\":\"%s\"}", instance->weight,
             state_names[instance->state]);
    append_text(out, rest);
}

static int read_state(const json_t *value, client_instance_state_t *state)
{
    *state = CLIENT_INSTANCE_READY;
    if (!value) {
        return 0;
    }
    const char *name = json_string_value(value);
    for (size_t i = 0; name && i < sizeof state_names / sizeof *state_names; i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *state = (client_instance_state_t)i;
            return 0;
        }
    }
    return 1;
}

static int read_weight(const json_t *value, uint32_t *weight)
{
    *weight = 1;
    if (!value) {
        return 0;
    }
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    *weight = (uint32_t)number;
    return number < 0 || number > CLIENT_INSTANCE_WEIGHT_MAX;
}

/* Texts only: what else stands there is somebody's own business, and left out. */
static void read_metadata(json_t *value, client_instance_t *instance)
{
    const char *name = NULL;
    json_t *item = NULL;
    json_object_foreach(value, name, item)
    {
        if (json_is_string(item) && instance->metadata_n < CLIENT_INSTANCE_METADATA_MAX) {
            instance->metadata[instance->metadata_n++] = (client_instance_metadata_t){
                .name = xstrdup(name), .value = xstrdup(json_string_value(item))};
        }
    }
}

int client_instance_read(slice_t value, client_instance_t *instance)
{
    *instance = (client_instance_t){0};
    if (value.len == 0 || value.len > CLIENT_INSTANCE_BYTES_MAX) {
        return 1;
    }
    json_t *root = json_loadb((const char *)value.data, value.len, JSON_REJECT_DUPLICATES, NULL);
    const char *address = json_string_value(json_object_get(root, "address"));
    int rc = !address || !address[0];
    rc = rc || read_state(json_object_get(root, "state"), &instance->state);
    rc = rc || read_weight(json_object_get(root, "weight"), &instance->weight);
    if (!rc) {
        instance->address = xstrdup(address);
        read_metadata(json_object_get(root, "metadata"), instance);
    }
    json_decref(root);
    return rc;
}

int client_instance_rewrite(buf_t *out, slice_t value, client_instance_state_t state)
{
    client_instance_t instance;
    if (client_instance_read(value, &instance)) {
        return 1;
    }
    client_instance_deinit(&instance);
    json_t *root = json_loadb((const char *)value.data, value.len, JSON_REJECT_DUPLICATES, NULL);
    char *text = json_object_set_new(root, "state", json_string(state_names[state])) == 0
                     ? json_dumps(root, JSON_COMPACT)
                     : NULL;
    json_decref(root);
    if (!text) {
        return 1;
    }
    append_text(out, text);
    free(text);
    return 0;
}

void client_instance_deinit(client_instance_t *instance)
{
    free(instance->address);
    for (size_t i = 0; i < instance->metadata_n; i++) {
        free(instance->metadata[i].name);
        free(instance->metadata[i].value);
    }
    *instance = (client_instance_t){0};
}

static void append_key(buf_t *out, const char *root, const char *name, const char *last)
{
    append_text(out, root);
    append_text(out, name);
    append_text(out, "/");
    append_text(out, last);
}

void client_instance_prefix(buf_t *out, const char *name)
{
    append_key(out, "/services/", name, "");
}

void client_instance_key(buf_t *out, const char *name, const char *instance)
{
    append_key(out, "/services/", name, instance);
}

void client_instance_subscriber_key(buf_t *out, const char *name, const char *subscriber)
{
    append_key(out, "/subscribers/", name, subscriber);
}

bool client_instance_is_name(const char *name)
{
    size_t len = 0;
    while (name && name[len] > ' ' && name[len] < 0x7f && name[len] != '/' && len < 256) {
        len++;
    }
    return name && len >= 1 && len <= 255 && name[len] == '\0';
}
