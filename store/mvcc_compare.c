#include "store/mvcc_compare.h"

static int order_of(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static slice_t value_of(const Etcdserverpb__Compare *compare)
{
    if (compare->target_union_case != ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE) {
        return slice(NULL, 0);
    }
    return slice(compare->value.data, compare->value.len);
}

/* The number to compare with; as in etcd it is 0 when the union holds something else. */
static int64_t number_of(const Etcdserverpb__Compare *compare)
{
    static const Etcdserverpb__Compare__TargetUnionCase cases[] = {
        [ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION] =
            ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION,
        [ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE] =
            ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION,
        [ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD] =
            ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION,
        [ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE] = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE,
    };
    if (cases[compare->target] != compare->target_union_case) {
        return 0;
    }
    return compare->version; /* all numbers of the union share their place */
}

static int compare_order(const Etcdserverpb__Compare *compare, const mvcc_record_t *record)
{
    switch (compare->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
        return slice_compare(record->value, value_of(compare));
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        return order_of(record->version, number_of(compare));
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        return order_of(record->create_revision, number_of(compare));
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        return order_of(record->mod_revision, number_of(compare));
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        return order_of(record->lease, number_of(compare));
    default: return 0; /* an unknown target compares equal, as in etcd */
    }
}

bool mvcc_compare_holds(const Etcdserverpb__Compare *compare, const mvcc_record_t *record)
{
    static const mvcc_record_t missing = {0};
    if (!record && compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE) {
        return false; /* there is no way to spell "no value" */
    }
    int order = compare_order(compare, record ? record : &missing);
    switch (compare->result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL: return order == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER: return order > 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS: return order < 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL: return order != 0;
    default: return true; /* an unknown operator holds, as in etcd */
    }
}
