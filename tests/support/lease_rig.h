/* lease_rig: drives one lease core: the test is its election, replicator, applier, gateway and the other
 * members. Its names begin with lt_ ("lease test"). */
#pragma once

#include "actors/lease/lease.h"
#include "tests/support/core_test.h"

#define SECOND        1000000u
#define FIRST_FORWARD 1000u /* number of the first question that is passed on */

extern metrics_t lt_metrics;

/* The election timeout is one second, the request timeout seven. */
core_test_t lt_start(void);
/* Time passes; the core is woken when it wants to be. Without that it would be a pause. */
void lt_pass(core_test_t *test, uint64_t micros);

/* ---- from the other actors ---- */
void lt_role(core_test_t *test, role_t role, uint64_t term, uint64_t leader);
void lt_lead(core_test_t *test, uint64_t term);
void lt_change(core_test_t *test, lease_change_type_t type, int64_t id, int64_t ttl_s);
void lt_applied(core_test_t *test, uint64_t index);
/* Ends the burst; lease asks to be told when this is applied. */
void lt_expect_await(core_test_t *test, uint64_t index);
void lt_ask(core_test_t *test, lease_op_t op, int64_t id, uint64_t applied_index);
/* End of burst, the READ that must come out, and its number. */
uint64_t lt_expect_read(core_test_t *test, uint64_t term);
void lt_read_at(core_test_t *test, uint64_t read_id, uint64_t index);
void lt_read_fail(core_test_t *test, uint64_t read_id, api_error_t error);
/* expect_read and read_at of index 0 in whatever term. */
void lt_confirm(core_test_t *test);

/* ---- answers ---- */
msg_lease_answer_t lt_expect_answer(core_test_t *test);
/* A question with its confirmation. */
msg_lease_answer_t lt_ask_and_confirm(core_test_t *test, lease_op_t op, int64_t id);

/* ---- other members ---- */
void lt_hear_forward(core_test_t *test, uint64_t member, uint64_t term,
                     const peer_lease_ask_t *ask);
void lt_hear_reply(core_test_t *test, uint64_t member, const peer_lease_answer_t *reply);
peer_lease_ask_t lt_expect_forward(core_test_t *test, uint64_t member, uint64_t term);
peer_lease_answer_t lt_expect_reply(core_test_t *test, uint64_t member);
