/* api_cluster: members, status, health and the member's own publication, inside of api. */
#pragma once

#include "actors/api/api_state.h"

/* The applied members (meta "members"): 0 with *members_p yours (members_free), or < 0. */
int members_read(Quoral__Configuration **members_p, const kv_reader_t *reader)
    __attribute__((warn_unused_result));
void members_free(Quoral__Configuration **members_p);
/* NULL when it is not a member. */
const Quoral__ConfigurationMember *members_find(const Quoral__Configuration *members, uint64_t id);

/* ---- api_members.c ---- */
void api_members_deinit(api_t *self);
/* What is applied of the members has changed with the entry `index`. */
void api_members_changed(api_t *self, uint64_t index);
/* End of a turn: reads them again when they have changed. */
void api_refresh_members(api_t *self);
void api_on_peer_status(api_t *self, const msg_peer_status_t *status);
/* Is the member, or are enough voters for a quorum, reached since that time without a break? */
bool api_reaches(const api_t *self, uint64_t member, uint64_t at_us);
bool api_reaches_quorum(const api_t *self, uint64_t at_us);
/* May the change be proposed? API_NONE, or why it would endanger the quorum. */
api_error_t api_may_add(const api_t *self, bool is_learner);
api_error_t api_may_remove(const api_t *self, uint64_t id);
api_error_t api_may_promote(const api_t *self, uint64_t id);

/* ---- api_cluster.c ---- */
void api_on_member_add(api_t *self, call_t *call, bytes_t **message_p);
void api_on_member_remove(api_t *self, call_t *call, bytes_t **message_p);
void api_on_member_update(api_t *self, call_t *call, bytes_t **message_p);
void api_on_member_promote(api_t *self, call_t *call, bytes_t **message_p);
void api_on_member_list(api_t *self, call_t *call, bytes_t **message_p);
/* The answer to each of these. */
void api_member_list_read(api_t *self, call_t *call);

/* ---- api_status.c ---- */
void api_on_status(api_t *self, call_t *call, bytes_t **message_p);
void api_status_read(api_t *self, call_t *call);
void api_on_alarm(api_t *self, call_t *call, bytes_t **message_p);
void api_alarm_read(api_t *self, call_t *call);
void api_on_health_check(api_t *self, call_t *call, bytes_t **message_p);
void api_on_health_list(api_t *self, call_t *call, bytes_t **message_p);
void api_on_health_watch(api_t *self, call_t *call, bytes_t **message_p);
/* End of a turn: tells those who watch the health when it has changed. */
void api_flush_health(api_t *self);

/* ---- api_maintenance.c ---- */
void api_on_move_leader(api_t *self, call_t *call, bytes_t **message_p);
void api_on_hash(api_t *self, call_t *call, bytes_t **message_p);
void api_on_hash_kv(api_t *self, call_t *call, bytes_t **message_p);
/* Somebody else leads, perhaps. */
void api_look_at_transfers(api_t *self);
void api_transfer_refused(api_t *self, call_t *call, api_error_t error);
void api_on_hashed(api_t *self, const msg_hash_t *hash);
/* End of a turn. */
void api_flush_maintenance(api_t *self);

/* ---- api_publish.c ---- */
/* Something may have changed that publication depends upon. */
void api_publish_check(api_t *self);
/* Our own proposal has been applied or refused. */
void api_publish_settled(api_t *self, bool refused);
/* End of a turn. */
void api_flush_publish(api_t *self);
uint64_t api_publish_deadline(const api_t *self);
