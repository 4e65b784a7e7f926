/* methods: every RPC is found by its path and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "actors/api/methods.h"

static void each_method_is_found_by_its_path(void **state)
{
    (void)state;
    for (int m = 0; m < METHOD_COUNT; m++) {
        const method_info_t *info = method_info((method_t)m);
        assert_int_equal(method_find(info->path, strlen(info->path)), m);
        assert_int_equal(method_find(info->path, strlen(info->path) - 1), METHOD_UNKNOWN);
    }
    assert_string_equal(method_info(METHOD_RANGE)->path, "/etcdserverpb.KV/Range");
    assert_int_equal(method_info(METHOD_WATCH)->type, RPC_BIDI_STREAM);
}

static void other_paths_are_unknown(void **state)
{
    (void)state;
    static const char *const paths[] = {"", "/", "/etcdserverpb.KV/range", "etcdserverpb.KV/Range",
                                        "/etcdserverpb.KV/Range/"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_int_equal(method_find(paths[i], strlen(paths[i])), METHOD_UNKNOWN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_method_is_found_by_its_path),
        cmocka_unit_test(other_paths_are_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
