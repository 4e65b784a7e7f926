/* api_lease: the Lease service inside of api. */
#pragma once

#include "actors/api/api_state.h"

void api_on_lease_grant(api_t *self, call_t *call, bytes_t **message_p);
void api_on_lease_revoke(api_t *self, call_t *call, bytes_t **message_p);
void api_on_lease_keep_alive(api_t *self, call_t *call, bytes_t **message_p);
void api_on_lease_time_to_live(api_t *self, call_t *call, bytes_t **message_p);
void api_on_lease_leases(api_t *self, call_t *call, bytes_t **message_p);
/* The client sends no more keepalives. */
void api_lease_half_close(api_t *self, call_t *call);
void api_on_lease_answer(api_t *self, msg_lease_answer_t *answer);
/* TimeToLive and Leases have their answer from the lease actor: adds what the store knows. */
void api_lease_read(api_t *self, call_t *call);
/* End of a turn: questions go to the lease actor. */
void api_flush_lease(api_t *self);
/* When to try again what it could not answer yet; DEADLINE_NONE = nothing waits. */
uint64_t api_lease_deadline(const api_t *self);
void lease_stream_destroy(api_t *self, call_t *call);
void lease_reply_destroy(lease_reply_t **reply_p);
void api_lease_deinit(api_t *self);
