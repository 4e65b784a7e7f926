/* client_instance: one instance of a service as its key's value says it. Pure.
 *
 *   /services/<name>/<instance>   {"address":"tcp://10.0.0.7:5555","metadata":{"zone":"a"},"weight":1,"state":"ready"}
 *
 * Everything but the address may be left out; unknown members are ignored, so that the layout can grow. */
#pragma once

#include "messages/buf.h"

typedef enum {
    CLIENT_INSTANCE_READY,
    CLIENT_INSTANCE_UNREADY,  /* registered, and not able to work right now */
    CLIENT_INSTANCE_DRAINING, /* finishes its work and goes */
} client_instance_state_t;

enum {
    CLIENT_INSTANCE_BYTES_MAX = 65536, /* of a value; larger ones are nobody's instance */
    CLIENT_INSTANCE_METADATA_MAX = 64,
    CLIENT_INSTANCE_WEIGHT_MAX = 1000000,
};

typedef struct {
    char *name;
    char *value;
} client_instance_metadata_t;

typedef struct {
    char *address;
    client_instance_metadata_t metadata[CLIENT_INSTANCE_METADATA_MAX];
    size_t metadata_n;
    uint32_t weight; /* 0: gets nothing */
    client_instance_state_t state;
} client_instance_t;

/* The JSON text, appended. */
void client_instance_write(buf_t *out, const client_instance_t *instance);
/* 0, or 1: that is no instance. The instance owns its texts. */
int client_instance_read(slice_t value, client_instance_t *instance)
    __attribute__((warn_unused_result));
void client_instance_deinit(client_instance_t *instance);
/* The same value with another state, everything else in it as it was; appended to `out`. 0, or 1: that is no
 * instance. */
int client_instance_rewrite(buf_t *out, slice_t value, client_instance_state_t state)
    __attribute__((warn_unused_result));

/* "/services/NAME/", or NAME's instance, or "/subscribers/NAME/" with `subscriber` appended; appended to `out`. */
void client_instance_prefix(buf_t *out, const char *name);
void client_instance_key(buf_t *out, const char *name, const char *instance);
void client_instance_subscriber_key(buf_t *out, const char *name, const char *subscriber);
/* Whether a service or an instance may be called so: 1 to 255 printable octets, no slash. */
bool client_instance_is_name(const char *name);
