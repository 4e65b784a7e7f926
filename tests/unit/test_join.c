/* Joining a cluster: which member a process is, told by its peer URLs; what its log begins with; and what is left
 * of a cluster when one member goes on alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "actors/daemon/join.h"
#include "membership.pb-c.h"
#include "messages/configuration.h"
#include "messages/xalloc.h"
#include "tests/support/fault_io.h"
#include "store/wal_dir.h"

/* Member n has the URLs n of this list. */
static char *const urls_1[] = {(char[]){"http://a:1"}, (char[]){"http://a:2"}};
static char *const urls_2[] = {(char[]){"http://b:1"}};
static char *const urls_3[] = {(char[]){"http://c:1"}};

/* Members 1 to `count`; the last one is a learner. */
static bytes_t *configuration(size_t count, const uint64_t *removed, size_t removed_count)
{
    Quoral__ConfigurationMember members[3];
    Quoral__ConfigurationMember *list[3];
    static char name[] = "n";
    char *const *const urls[] = {urls_1, urls_2, urls_3};
    for (size_t i = 0; i < count; i++) {
        quoral__configuration_member__init(&members[i]);
        members[i].id = i + 1;
        members[i].name = name;
        members[i].learner = i == 2;
        members[i].peer_urls = (char **)(uintptr_t)urls[i];
        members[i].n_peer_urls = i == 0 ? 2 : 1;
        list[i] = &members[i];
    }
    Quoral__Configuration all = QUORAL__CONFIGURATION__INIT;
    all.members = list;
    all.n_members = count;
    all.removed_ids = (uint64_t *)(uintptr_t)removed;
    all.n_removed_ids = removed_count;
    all.origin = 9;
    uint8_t *room = NULL;
    bytes_t *encoded = bytes_alloc(quoral__configuration__get_packed_size(&all), &room);
    quoral__configuration__pack(&all, room);
    return encoded;
}

/* What --initial-cluster names; the process is `own`. */
static bootstrap_t named(const char *own, const char *cluster)
{
    options_t options = {.name = xstrdup(own),
                         .initial_cluster = xstrdup(cluster),
                         .initial_cluster_token = xstrdup("t"),
                         .join_existing = true};
    bootstrap_t out;
    assert_null(options_bootstrap(&options, &out));
    options_deinit(&options);
    return out;
}

static void urls_tell_which_member_it_is(void **state)
{
    (void)state;
    bytes_t *existing = configuration(3, NULL, 0);
    static const struct {
        const char *own, *cluster, *error;
        uint64_t id;
    } cases[] = {
        {"z", "x=http://a:2,y=http://b:1,z=http://c:1,x=http://a:1", NULL, 3},
        {"x", "x=http://a:2,y=http://b:1,z=http://c:1,x=http://a:1", NULL, 1},
        {"x", "x=http://a:2,x=http://a:1,y=http://b:1",
         "error validating peerURLs x=http://a:1,http://a:2,y=http://b:1: member count is unequal",
         0},
        {"x", "x=http://a:1,y=http://b:1,z=http://c:1",
         "error validating peerURLs y=http://b:1,z=http://c:1,x=http://a:1: unmatched member while "
         "checking PeerURLs",
         0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bootstrap_t bootstrap = named(cases[i].own, cases[i].cluster);
        uint64_t id = 0;
        char *error = join_match(&bootstrap, bytes_slice(existing), &id);
        if (cases[i].error) {
            assert_non_null(error);
            assert_int_equal(strlen(error), strlen(cases[i].error)); /* in the order of ids */
            assert_memory_equal(error, cases[i].error, strlen("error validating peerURLs "));
            assert_string_equal(strrchr(error, ':'), strrchr(cases[i].error, ':'));
        } else {
            assert_null(error);
            assert_int_equal(id, cases[i].id);
            assert_true(join_knows(&bootstrap, bytes_slice(existing)));
        }
        free(error);
        bootstrap_deinit(&bootstrap);
    }
    bootstrap_t stranger = named("n", "n=http://new:1");
    assert_false(join_knows(&stranger, bytes_slice(existing)));
    bootstrap_deinit(&stranger);
    bytes_unref(&existing);
}

static void a_member_that_joins_does_not_vote_yet(void **state)
{
    (void)state;
    bytes_t *existing = configuration(2, NULL, 0);
    bytes_t *own = join_configuration(bytes_slice(existing), 2);
    configuration_t decoded = {0};
    assert_int_equal(configuration_decode(&decoded, bytes_slice(own)), 0);
    assert_int_equal(decoded.count, 2);
    assert_true(configuration_is_voter(&decoded, 1));
    assert_false(configuration_is_voter(&decoded, 2));
    configuration_deinit(&decoded);
    bytes_unref(&own);
    bytes_unref(&existing);
}

/* Empty, term 0, but it knows the others. */
static void its_log_begins_with_nothing_but_the_members(void **state)
{
    (void)state;
    bytes_t *existing = configuration(3, NULL, 0);
    fault_io_t *disk = fault_io_new(1);
    assert_int_equal(io_make_dir(fault_io(disk), "/d"), 0);
    const wal_initial_t initial = {.identity = {.cluster_id = 7, .member_id = 2},
                                   .configuration = existing};
    char *error = NULL;
    assert_int_equal(wal_create(fault_io(disk), "/d/wal", &initial, &error), 0);
    wal_recovered_t recovered = {0};
    assert_int_equal(wal_open(fault_io(disk), "/d/wal", &recovered, &error), 0);
    assert_int_equal(recovered.term, 0);
    assert_int_equal(recovered.commit, 0);
    assert_int_equal(recovered.base_index, 0);
    assert_int_equal(recovered.entries.count, 0);
    assert_int_equal(recovered.identity.cluster_id, 7);
    uint64_t index = 1;
    const bytes_t *found = wal_recovered_configuration(&recovered, &index);
    assert_int_equal(index, 0);
    assert_true(slice_equal(bytes_slice(found), bytes_slice(existing)));
    wal_recovered_deinit(&recovered);
    fault_io_destroy(&disk);
    bytes_unref(&existing);
}

static Quoral__Configuration *alone_of(size_t count, uint64_t member)
{
    const uint64_t removed[] = {8, 9};
    urls_t urls = {0};
    assert_null(urls_parse(&urls, "http://new:1"));
    bytes_t *existing = configuration(count, removed, 2);
    bytes_t *alone = alone_configuration(bytes_slice(existing), member, &urls);
    Quoral__Configuration *decoded = NULL;
    if (alone) {
        slice_t slice = bytes_slice(alone);
        decoded = quoral__configuration__unpack(NULL, slice.len, slice.data);
        assert_non_null(decoded);
        assert_int_equal(decoded->n_members, 1);
        assert_int_equal(decoded->members[0]->id, member);
        assert_false(decoded->members[0]->learner);
        assert_int_equal(decoded->origin, 0); /* nobody waits for it */
    }
    bytes_unref(&alone);
    bytes_unref(&existing);
    urls_deinit(&urls);
    return decoded;
}

static void alone_all_others_are_removed(void **state)
{
    (void)state;
    Quoral__Configuration *decoded = alone_of(3, 1);
    assert_string_equal(decoded->members[0]->name, "n");
    assert_int_equal(decoded->members[0]->n_peer_urls, 2);
    assert_int_equal(decoded->n_removed_ids, 4);
    quoral__configuration__free_unpacked(decoded, NULL);
    decoded = alone_of(3, 3); /* a learner */
    assert_string_equal(decoded->members[0]->peer_urls[0], "http://c:1");
    quoral__configuration__free_unpacked(decoded, NULL);
    decoded = alone_of(2, 5); /* one that joins */
    assert_string_equal(decoded->members[0]->peer_urls[0], "http://new:1");
    assert_int_equal(decoded->n_removed_ids, 4);
    quoral__configuration__free_unpacked(decoded, NULL);
    assert_null(alone_of(1, 1)); /* it is alone */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_tell_which_member_it_is),
        cmocka_unit_test(a_member_that_joins_does_not_vote_yet),
        cmocka_unit_test(its_log_begins_with_nothing_but_the_members),
        cmocka_unit_test(alone_all_others_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
