/* cli flags, environment and words: command lines in, values and messages out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/environment.h"
#include "cli/flags.h"
#include "cli/words.h"

static const flag_def_t defs[] = {
    {"interactive", 'i', FLAG_BOOL, "false", ""},
    {"rev", 0, FLAG_INT, "0", ""},
    {"write-out", 'w', FLAG_STRING, "simple", ""},
    {"command-timeout", 0, FLAG_DURATION, "5s", ""},
    {"endpoints", 0, FLAG_STRINGS, "127.0.0.1:2379", ""},
    {0},
};

/* Of other commands. */
static const flag_def_t other_defs[] = {
    {"native-endpoints", 0, FLAG_STRING, "", ""},
    {0},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Words separated by spaces; what flags_parse makes of them. */
static int parse(const char *line, flags_t *flags, strings_t *args, char **error_p)
{
    strings_t words = {0};
    char *copy = strdup(line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        strings_add(&words, word);
    }
    free(copy);
    flags_add(flags, defs);
    int rc = flags_parse(flags, words.items, words.n, args, error_p);
    strings_deinit(&words);
    return rc;
}

static void every_way_to_write_a_flag(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "a b -i --rev=5 --write-out json",
        "--rev 5 a -w json -i b",
        "-iw json a --rev=0x5 b",
        "-iwjson a b --rev +5",
        "a -w=json b --interactive --rev 05",
        "-w json --interactive=true --rev 5 -- a b",
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        flags_t flags = {0};
        strings_t args = {0};
        char *error = NULL;
        assert_int_equal(parse(lines[i], &flags, &args, &error), 0);
        assert_true(flags_bool(&flags, "interactive"));
        assert_int_equal(flags_int(&flags, "rev"), 5);
        assert_string_equal(flags_string(&flags, "write-out"), "json");
        assert_int_equal(flags_duration_ns(&flags, "command-timeout"), 5000000000LL);
        assert_false(flags_changed(&flags, "command-timeout"));
        assert_true(flags_changed(&flags, "rev"));
        assert_int_equal(args.n, 2);
        assert_string_equal(args.items[0], "a");
        assert_string_equal(args.items[1], "b");
        flags_deinit(&flags);
        strings_deinit(&args);
    }
}

static void wrong_flags_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *error;
    } cases[] = {
        {"--nosuch", "unknown flag: --nosuch"},
        {"--nosuch=5", "unknown flag: --nosuch"},
        {"-x", "unknown shorthand flag: 'x' in -x"},
        {"-ixy", "unknown shorthand flag: 'x' in -xy"},
        {"--rev", "flag needs an argument: --rev"},
        {"-iw", "flag needs an argument: 'w' in -w"},
        {"---x", "bad flag syntax: ---x"},
        {"--=x", "bad flag syntax: --=x"},
        {"--rev=x", "invalid argument \"x\" for \"--rev\" flag: strconv.ParseInt: parsing \"x\": "
                    "invalid syntax"},
        {"--interactive=maybe", "invalid argument \"maybe\" for \"-i, --interactive\" flag: "
                                "strconv.ParseBool: parsing \"maybe\": invalid syntax"},
        {"--command-timeout=5", "invalid argument \"5\" for \"--command-timeout\" flag: time: "
                                "missing unit in duration \"5\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        flags_t flags = {0};
        strings_t args = {0};
        char *error = NULL;
        assert_int_equal(parse(cases[i].line, &flags, &args, &error), FLAGS_ERROR);
        assert_string_equal(error, cases[i].error);
        free(error);
        flags_deinit(&flags);
        strings_deinit(&args);
    }
}

static void lists_replace_the_default_and_grow(void **state)
{
    (void)state;
    flags_t flags = {0};
    strings_t args = {0};
    char *error = NULL;
    assert_int_equal(parse("--endpoints a,b --endpoints c", &flags, &args, &error), 0);
    const strings_t *list = flags_strings(&flags, "endpoints");
    assert_int_equal(list->n, 3);
    assert_string_equal(list->items[0], "a");
    assert_string_equal(list->items[2], "c");
    flags_deinit(&flags);
    assert_int_equal(parse("--endpoints=", &flags, &args, &error), 0);
    assert_int_equal(flags_strings(&flags, "endpoints")->n, 0);
    flags_deinit(&flags);
    assert_int_equal(parse("a --help --rev 1", &flags, &args, &error), FLAGS_HELP);
    flags_deinit(&flags);
    strings_deinit(&args);
}

/* Applies the environment to `line`; the error or NULL. `warnings_p` gets what was warned about. */
static char *apply(const char *line, char *const *env, flags_t *flags, char **warnings_p)
{
    strings_t args = {0};
    char *error = NULL;
    size_t size = 0;
    assert_int_equal(parse(line, flags, &args, &error), 0);
    strings_deinit(&args);
    FILE *err = open_memstream(warnings_p, &size);
    const flag_def_t *const tables[] = {defs, other_defs, NULL};
    error = environment_apply(flags, tables, env, false, err);
    fclose(err);
    return error;
}

static void the_environment_sets_flags(void **state)
{
    (void)state;
    char json[] = "ETCDCTL_WRITE_OUT=json";
    char own[] = "QUORALCTL_REV=7";
    char api[] = "ETCDCTL_API=3";
    char empty[] = "ETCDCTL_COMMAND_TIMEOUT=";
    char strange[] = "ETCDCTL_STRANGE=1";
    char others[] = "QUORALCTL_NATIVE_ENDPOINTS=x";
    char *env[] = {json, own, api, empty, strange, others, NULL};
    flags_t flags = {0};
    char *warnings = NULL;
    assert_null(apply("x", env, &flags, &warnings));
    assert_string_equal(flags_string(&flags, "write-out"), "json");
    assert_int_equal(flags_int(&flags, "rev"), 7);
    assert_string_equal(warnings, "Warning: unrecognized environment variable ETCDCTL_STRANGE=1\n");
    free(warnings);
    flags_deinit(&flags);
}

static void conflicts_with_the_environment_are_errors(void **state)
{
    (void)state;
    char etcdctl[] = "ETCDCTL_REV=7";
    char own[] = "QUORALCTL_REV=8";
    char wrong[] = "QUORALCTL_REV=x";
    char old_api[] = "ETCDCTL_API=2";
    char *both[] = {etcdctl, own, NULL};
    char *one[] = {etcdctl, NULL};
    char *bad[] = {wrong, NULL};
    char *old[] = {old_api, NULL};
    static const char *const beginnings[] = {
        "conflicting environment variable ETCDCTL_REV is shadowed by the command line flag --rev",
        "conflicting environment variables: QUORALCTL_ and ETCDCTL_ both set --rev",
        "invalid value \"x\" for QUORALCTL_REV: strconv.ParseInt",
        "ETCDCTL_API=2: only version 3",
    };
    char **environments[] = {one, both, bad, old};
    const char *lines[] = {"--rev 1", "x", "x", "x"};
    for (size_t i = 0; i < 4; i++) {
        flags_t flags = {0};
        char *warnings = NULL;
        char *error = apply(lines[i], environments[i], &flags, &warnings);
        assert_non_null(error);
        assert_memory_equal(error, beginnings[i], strlen(beginnings[i]));
        free(error);
        free(warnings);
        flags_deinit(&flags);
    }
}

static void lines_are_split_into_words(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *words; /* joined by | */
    } cases[] = {
        {"put a b", "put|a|b"},
        {"  put\ta   b ", "put|a|b"},
        {"put \"two words\" 'single \"q\"'", "put|two words|single \"q\""},
        {"put \"tab\\t\\x41\" x", "put|tab\tA|x"},
        {"a'b' c\"d\"", "a'b'|c\"d\""},
        {"put 'open a", "put|open|a"},
        {"", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        strings_t words = {0};
        char joined[128] = "";
        assert_true(words_split(cases[i].line, &words));
        for (size_t k = 0; k < words.n; k++) {
            strcat(strcat(joined, k > 0 ? "|" : ""), words.items[k]);
        }
        assert_string_equal(joined, cases[i].words);
        strings_deinit(&words);
    }
    strings_t words = {0};
    assert_false(words_split("put \"\\q\"", &words));
    strings_deinit(&words);
}

static void compares_are_parsed(void **state)
{
    (void)state;
    Etcdserverpb__Compare *compare = malloc(sizeof *compare);
    etcdserverpb__compare__init(compare);
    assert_null(words_parse_compare("val(\"k\\x00y\") != \"v\"", compare));
    assert_int_equal(compare->key.len, 3);
    assert_int_equal(compare->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL);
    assert_int_equal(compare->target, ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE);
    assert_memory_equal(compare->value.data, "v", 1);
    etcdserverpb__compare__free_unpacked(compare, NULL);
    compare = malloc(sizeof *compare);
    etcdserverpb__compare__init(compare);
    assert_null(words_parse_compare("lease(\"k\") = \"1f\"", compare));
    assert_int_equal(compare->lease, 31);
    etcdserverpb__compare__free_unpacked(compare, NULL);
}

static void wrong_compares_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *error;
    } cases[] = {
        {"mod", "malformed comparison: mod"},
        {"mod(\"a\") >", "malformed comparison: mod(\"a\") >; got mod(\"a\") > \"\""},
        {"x(\"a\") > \"1\"", "malformed comparison: x(\"a\") > \"1\" (unknown target x)"},
        {"mod(\"a\") ~ \"1\"", "malformed comparison: mod(\"a\") ~ \"1\" (unknown operator ~)"},
        {"mod(\"a\") > \"x\"", "invalid txn compare request: mod(\"a\") > \"x\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        Etcdserverpb__Compare *compare = malloc(sizeof *compare);
        etcdserverpb__compare__init(compare);
        char *error = words_parse_compare(cases[i].line, compare);
        assert_non_null(error);
        assert_string_equal(error, cases[i].error);
        free(error);
        etcdserverpb__compare__free_unpacked(compare, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_to_write_a_flag),
        cmocka_unit_test(wrong_flags_are_named),
        cmocka_unit_test(lists_replace_the_default_and_grow),
        cmocka_unit_test(the_environment_sets_flags),
        cmocka_unit_test(conflicts_with_the_environment_are_errors),
        cmocka_unit_test(lines_are_split_into_words),
        cmocka_unit_test(compares_are_parsed),
        cmocka_unit_test(wrong_compares_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
