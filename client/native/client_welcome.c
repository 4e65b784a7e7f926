#include "client/native/client_welcome.h"

#include "messages/wire.h"

/* The fields of quoral.Welcome in messages/native.proto. */
enum {
    CLUSTER_ID = 1,
    MEMBER_ID = 2,
    HEARTBEAT_MS = 4,
    CALLS_MAX = 5,
    WINDOW_BYTES = 6,
    PROGRESS_MS = 8,
    PUBLISH_URLS = 9,
    PUBLISH_PORT = 10,
};

enum { MS_MAX = 3600000, US_PER_MS = 1000 };

static void take_number(client_welcome_t *out, const wire_field_t *field)
{
    uint64_t ms = field->value < MS_MAX ? field->value : MS_MAX;
    switch (field->number) {
    case CLUSTER_ID: out->member.cluster_id = field->value; break;
    case MEMBER_ID: out->member.member_id = field->value; break;
    case HEARTBEAT_MS: out->heartbeat_us = ms * US_PER_MS; break;
    case CALLS_MAX:
        out->calls_max = field->value < SIZE_MAX ? (size_t)field->value : SIZE_MAX;
        break;
    case WINDOW_BYTES: out->window = field->value; break;
    case PROGRESS_MS: out->member.progress_us = ms * US_PER_MS; break;
    case PUBLISH_PORT:
        out->member.publish_port = field->value <= UINT16_MAX ? (uint16_t)field->value : 0;
        break;
    default: break;
    }
}

static void take_url(client_welcome_t *out, slice_t url)
{
    client_member_t *member = &out->member;
    bool fits = url.len < sizeof member->publish_url && !memchr(url.data, 0, url.len);
    if (fits && !member->publish_url[0]) { /* the first one */
        memcpy(member->publish_url, url.data, url.len);
    }
}

int client_welcome_read(slice_t body, client_welcome_t *out)
{
    *out = (client_welcome_t){0};
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&body, &field)) == 0) {
        if (field.type == 0) {
            take_number(out, &field);
        } else if (field.type == 2 && field.number == PUBLISH_URLS && field.data.len > 0) {
            take_url(out, field.data);
        }
    }
    bool is_usable = out->heartbeat_us > 0 && out->calls_max > 0 && out->window >= 4;
    if (out->member.progress_us == 0) {
        out->member.progress_us = out->heartbeat_us;
    }
    return rc == WIRE_END && is_usable ? 0 : 1;
}
