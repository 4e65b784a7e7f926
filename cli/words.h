/* words: the little languages of txn and watch -i: a line split into words as etcdctl does, and the
 * compares of a transaction. Pure. */
#pragma once

#include <stdbool.h>

#include "cli/flags.h"
#include "etcd/rpc.pb-c.h"

/* Words are "quoted with escapes", 'taken as they are' or plain. false: an escape is wrong. */
bool words_split(const char *line, strings_t *words);

/* `mod("key") > "0"`. NULL: *compare is filled (its bytes are the caller's to free); otherwise a
 * fresh error text. */
char *words_parse_compare(const char *line, Etcdserverpb__Compare *compare);
