/* membership: which changes are allowed, and what they make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/replicator/membership.h"
#include "membership.pb-c.h"
#include "messages/limits.h"

#define ADD     QUORAL__MEMBERSHIP_CHANGE__KIND__ADD
#define REMOVE  QUORAL__MEMBERSHIP_CHANGE__KIND__REMOVE
#define UPDATE  QUORAL__MEMBERSHIP_CHANGE__KIND__UPDATE
#define PROMOTE QUORAL__MEMBERSHIP_CHANGE__KIND__PROMOTE

static const membership_rules_t rules = {.learners_max = 1, .match = 95, .last = 100};

static char url_of[8][8] = {"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"};

static void fill(Quoral__ConfigurationMember *member, char **url, uint64_t id, bool learner)
{
    quoral__configuration_member__init(member);
    member->id = id;
    member->learner = learner;
    *url = url_of[id % 8];
    member->peer_urls = url;
    member->n_peer_urls = 1;
}

/* Voters 1, 2, 3 (or only 1), a learner 4 when wanted; 6 was removed. URLs u1, u2, u3 and u4. */
static bytes_t *configuration(size_t voters, bool learner)
{
    Quoral__ConfigurationMember members[4];
    Quoral__ConfigurationMember *pointers[4];
    char *urls[4];
    uint64_t removed = 6;
    for (size_t i = 0; i < 4; i++) {
        fill(&members[i], &urls[i], i < voters ? i + 1 : 4, i >= voters);
        pointers[i] = &members[i];
    }
    Quoral__Configuration message = QUORAL__CONFIGURATION__INIT;
    message.members = pointers;
    message.n_members = voters + learner;
    message.removed_ids = &removed;
    message.n_removed_ids = 1;
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(quoral__configuration__get_packed_size(&message), &room);
    quoral__configuration__pack(&message, room);
    return bytes;
}

static bytes_t *change_of(Quoral__MembershipChange__Kind kind, uint64_t id, bool learner, char *url)
{
    Quoral__ConfigurationMember member;
    char *urls = NULL;
    fill(&member, &urls, id, learner);
    urls = url;
    member.n_peer_urls = url ? 1 : 0;
    Quoral__MembershipChange change = QUORAL__MEMBERSHIP_CHANGE__INIT;
    change.kind = kind;
    change.member = &member;
    change.origin = 77;
    change.request_id = 8;
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(quoral__membership_change__get_packed_size(&change), &room);
    quoral__membership_change__pack(&change, room);
    return bytes;
}

/* Takes the change. */
static api_error_t try(bytes_t *before, bytes_t *change, Quoral__Configuration **after)
{
    bytes_t *made = NULL;
    api_error_t error = membership_apply(bytes_slice(before), bytes_slice(change), &rules, &made);
    bytes_unref(&change);
    assert_int_equal(error == API_NONE, made != NULL);
    *after = NULL;
    if (made) {
        assert_true(membership_is_valid(bytes_slice(made)));
        slice_t bytes = bytes_slice(made);
        *after = quoral__configuration__unpack(NULL, bytes.len, bytes.data);
        bytes_unref(&made);
    }
    return error;
}

static void refused(size_t voters, bool learner, bytes_t *change, api_error_t error)
{
    bytes_t *before = configuration(voters, learner);
    Quoral__Configuration *after = NULL;
    assert_int_equal(try(before, change, &after), error);
    bytes_unref(&before);
}

static Quoral__Configuration *allowed(size_t voters, bool learner, bytes_t *change)
{
    bytes_t *before = configuration(voters, learner);
    Quoral__Configuration *after = NULL;
    assert_int_equal(try(before, change, &after), API_NONE);
    assert_int_equal(after->origin, 77);
    assert_int_equal(after->request_id, 8);
    assert_int_equal(after->removed_ids[0], 6);
    bytes_unref(&before);
    return after;
}

static void a_new_member_is_added(void **state)
{
    (void)state;
    Quoral__Configuration *after = allowed(3, false, change_of(ADD, 5, true, "u5"));
    assert_int_equal(after->n_members, 4);
    assert_int_equal(after->members[3]->id, 5);
    assert_true(after->members[3]->learner);
    assert_string_equal(after->members[3]->peer_urls[0], "u5");
    assert_int_equal(after->n_removed_ids, 1);
    quoral__configuration__free_unpacked(after, NULL);
}

static void an_id_is_used_once_for_ever(void **state)
{
    (void)state;
    refused(3, false, change_of(ADD, 2, false, "u7"), API_MEMBER_EXISTS);
    refused(3, false, change_of(ADD, 6, false, "u7"), API_MEMBER_NOT_FOUND); /* it was removed */
}

static void a_url_belongs_to_one_member(void **state)
{
    (void)state;
    refused(3, false, change_of(ADD, 5, false, "u2"), API_PEER_URL_EXISTS);
    refused(3, false, change_of(UPDATE, 1, false, "u2"), API_PEER_URL_EXISTS);
    refused(3, false, change_of(ADD, 5, false, NULL), API_MEMBER_BAD_URLS);
}

static void learners_are_limited(void **state)
{
    (void)state;
    refused(3, true, change_of(ADD, 5, true, "u5"), API_TOO_MANY_LEARNERS);
    quoral__configuration__free_unpacked(allowed(3, true, change_of(ADD, 5, false, "u5")), NULL);
}

static void a_removed_id_is_remembered(void **state)
{
    (void)state;
    Quoral__Configuration *after = allowed(3, false, change_of(REMOVE, 2, false, NULL));
    assert_int_equal(after->n_members, 2);
    assert_int_equal(after->n_removed_ids, 2);
    assert_int_equal(after->removed_ids[1], 2);
    quoral__configuration__free_unpacked(after, NULL);
    bytes_t *before = configuration(3, false);
    assert_true(membership_is_removed(bytes_slice(before), 6));
    assert_false(membership_is_removed(bytes_slice(before), 2));
    bytes_unref(&before);
}

static void who_is_unknown_or_gone_can_not_be_changed(void **state)
{
    (void)state;
    for (uint64_t id = 5; id <= 6; id++) {
        refused(3, false, change_of(REMOVE, id, false, NULL), API_MEMBER_NOT_FOUND);
        refused(3, false, change_of(UPDATE, id, false, "u7"), API_MEMBER_NOT_FOUND);
        refused(3, false, change_of(PROMOTE, id, false, NULL), API_MEMBER_NOT_FOUND);
    }
}

static void the_last_voter_stays(void **state)
{
    (void)state;
    refused(1, true, change_of(REMOVE, 1, false, NULL), API_MEMBER_NOT_ENOUGH_STARTED);
    quoral__configuration__free_unpacked(allowed(1, true, change_of(REMOVE, 4, false, NULL)), NULL);
}

static void an_update_changes_urls_and_nothing_else(void **state)
{
    (void)state;
    Quoral__Configuration *after = allowed(3, true, change_of(UPDATE, 4, false, "u7"));
    assert_int_equal(after->n_members, 4);
    assert_true(after->members[3]->learner); /* etcd issue 15096 */
    assert_string_equal(after->members[3]->peer_urls[0], "u7");
    quoral__configuration__free_unpacked(after, NULL);
}

static void a_learner_that_has_caught_up_is_promoted(void **state)
{
    (void)state;
    Quoral__Configuration *after = allowed(3, true, change_of(PROMOTE, 4, false, NULL));
    assert_false(after->members[3]->learner);
    assert_string_equal(after->members[3]->peer_urls[0], "u4");
    quoral__configuration__free_unpacked(after, NULL);
    refused(3, true, change_of(PROMOTE, 2, false, NULL), API_MEMBER_NOT_LEARNER);
}

static void a_learner_behind_is_not_promoted(void **state)
{
    (void)state;
    const uint64_t matches[] = {0, 89, 90, 100};
    for (size_t i = 0; i < 4; i++) {
        membership_rules_t at = {.learners_max = 1, .match = matches[i], .last = 100};
        bytes_t *before = configuration(3, true);
        bytes_t *change = change_of(PROMOTE, 4, false, NULL);
        bytes_t *made = NULL;
        api_error_t error = membership_apply(bytes_slice(before), bytes_slice(change), &at, &made);
        assert_int_equal(error, matches[i] < 90 ? API_LEARNER_NOT_READY : API_NONE);
        bytes_unref(&made);
        bytes_unref(&change);
        bytes_unref(&before);
    }
}

static void a_change_says_what_it_is_about(void **state)
{
    (void)state;
    bytes_t *change = change_of(PROMOTE, 4, false, NULL);
    membership_kind_t kind = MEMBERSHIP_ADD;
    uint64_t member = 0;
    assert_true(membership_change_of(bytes_slice(change), &kind, &member));
    assert_int_equal(kind, MEMBERSHIP_PROMOTE);
    assert_int_equal(member, 4);
    bytes_unref(&change);
}

static void bytes_that_are_no_change_are_refused(void **state)
{
    (void)state;
    const char *const bad[] = {"", "\x0a", "nonsense", "\x12\x00"};
    for (size_t i = 0; i < 4; i++) {
        membership_kind_t kind = MEMBERSHIP_ADD;
        uint64_t member = 0;
        assert_false(
            membership_change_of(slice(bad[i], i == 3 ? 2 : strlen(bad[i])), &kind, &member));
        refused(3, false, bytes_new(bad[i], strlen(bad[i])), API_MEMBER_BAD_URLS);
    }
    bytes_t *later = change_of((Quoral__MembershipChange__Kind)9, 2, false, NULL);
    membership_kind_t kind = MEMBERSHIP_ADD;
    uint64_t member = 0;
    assert_false(membership_change_of(bytes_slice(later), &kind, &member));
    refused(3, false, later, API_NOT_CAPABLE);
}

static void bytes_that_are_no_configuration_are_told_apart(void **state)
{
    (void)state;
    bytes_t *good = configuration(3, true);
    assert_true(membership_is_valid(bytes_slice(good)));
    bytes_unref(&good);
    assert_false(membership_is_valid(slice("", 0)));
    assert_false(membership_is_valid(slice_str("nonsense")));
    bytes_t *voterless = configuration(0, true);
    assert_false(membership_is_valid(bytes_slice(voterless)));
    bytes_unref(&voterless);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_member_is_added),
        cmocka_unit_test(an_id_is_used_once_for_ever),
        cmocka_unit_test(a_url_belongs_to_one_member),
        cmocka_unit_test(learners_are_limited),
        cmocka_unit_test(a_removed_id_is_remembered),
        cmocka_unit_test(who_is_unknown_or_gone_can_not_be_changed),
        cmocka_unit_test(the_last_voter_stays),
        cmocka_unit_test(an_update_changes_urls_and_nothing_else),
        cmocka_unit_test(a_learner_that_has_caught_up_is_promoted),
        cmocka_unit_test(a_learner_behind_is_not_promoted),
        cmocka_unit_test(a_change_says_what_it_is_about),
        cmocka_unit_test(bytes_that_are_no_change_are_refused),
        cmocka_unit_test(bytes_that_are_no_configuration_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
