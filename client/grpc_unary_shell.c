/* grpc_client_call: one request, one answer, on top of streams. */
#include "client/grpc_client.h"

typedef struct unary {
    const ProtobufCMessageDescriptor *type;
    ProtobufCMessage *answer;
    bool malformed;
    bool done;
    grpc_status_t status;
} unary_t;

static void on_unary_message(void *arg, const uint8_t *message, size_t size)
{
    unary_t *unary = arg;
    if (unary->answer == NULL) {
        unary->answer = protobuf_c_message_unpack(unary->type, NULL, size, message);
    }
    unary->malformed |= unary->answer == NULL;
}

static void on_unary_done(void *arg, const grpc_status_t *status)
{
    unary_t *unary = arg;
    grpc_status_set(&unary->status, status->code, status->message);
    unary->status.unprocessed = status->unprocessed;
    unary->done = true;
}

int grpc_client_call(grpc_client_t *self, const char *path, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *answer_type, int64_t timeout_ms,
                     ProtobufCMessage **answer_p, grpc_status_t *status)
{
    unary_t unary = {.type = answer_type};
    grpc_stream_t *stream = grpc_client_start(self, &(grpc_stream_cfg_t){
                                                        .path = path,
                                                        .timeout_ms = timeout_ms,
                                                        .on_message = on_unary_message,
                                                        .on_done = on_unary_done,
                                                        .arg = &unary,
                                                    });
    grpc_stream_send_message(stream, request);
    grpc_stream_close_send(stream);
    while (!unary.done) {
        grpc_client_run(self, -1);
    }
    if (unary.status.code == GRPC_OK && unary.answer == NULL) {
        grpc_status_set(&unary.status, GRPC_INTERNAL,
                        unary.malformed ? "grpc: failed to unmarshal the received message"
                                        : "cardinality violation: the answer has no message");
    }
    if (unary.status.code == GRPC_OK) {
        grpc_status_deinit(&unary.status);
        *answer_p = unary.answer;
        return 0;
    }
    if (unary.answer != NULL) {
        protobuf_c_message_free_unpacked(unary.answer, NULL);
    }
    *status = unary.status;
    return 1;
}
