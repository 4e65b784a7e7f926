/* api_cluster: members, status, health and the member's own publication, inside of api. */
#pragma once

#include <membership.pb-c.h>

#include "actors/api/api_state.h"

/* The applied members (meta "members"): 0 with *members_p yours (members_free), or < 0. */
int members_read(Quoral__Configuration **members_p, const kv_reader_t *reader)
    __attribute__((warn_unused_result));
void members_free(Quoral__Configuration **members_p);
/* NULL when it is not a member. */
const Quoral__ConfigurationMember *members_find(const Quoral__Configuration *members, uint64_t id);

void api_on_member_list(api_t *self, call_t *call, bytes_t **message_p);
void api_member_list_read(api_t *self, call_t *call);
void api_on_status(api_t *self, call_t *call, bytes_t **message_p);
void api_status_read(api_t *self, call_t *call);
void api_on_alarm(api_t *self, call_t *call, bytes_t **message_p);
void api_alarm_read(api_t *self, call_t *call);
void api_on_health_check(api_t *self, call_t *call, bytes_t **message_p);
void api_on_health_list(api_t *self, call_t *call, bytes_t **message_p);
void api_on_health_watch(api_t *self, call_t *call, bytes_t **message_p);
/* End of a turn: tells those who watch the health when it has changed. */
void api_flush_health(api_t *self);

/* Something may have changed that publication depends upon. */
void api_publish_check(api_t *self);
/* Our own proposal has been applied or refused. */
void api_publish_settled(api_t *self, bool refused);
/* End of a turn. */
void api_flush_publish(api_t *self);
uint64_t api_publish_deadline(const api_t *self);
