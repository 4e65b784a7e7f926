/* api_watch: watch streams inside of api. */
#pragma once

#include "actors/api/api_state.h"

/* One request message of a watch stream. */
void api_on_watch(api_t *self, call_t *call, bytes_t **message_p);
void api_on_watch_out(api_t *self, const msg_watch_out_t *out);
/* So many bytes of the stream's messages have left. */
void api_watch_sent(api_t *self, call_t *call, size_t bytes);
/* End of a turn: requests and consumed bytes go to the watch actor. */
void api_flush_watch(api_t *self);
/* The call ends: tells the watch actor. */
void watch_stream_destroy(api_t *self, call_t *call);
void api_watch_deinit(api_t *self);
