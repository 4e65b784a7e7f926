/* command: the tree of commands and how a command line finds its way through it, as cobra does it:
 * unambiguous prefixes of names are accepted, flags may stand before the command. Pure, but for the
 * streams that help is written to. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "cli/flags.h"

struct cli;

typedef enum command_group {
    GROUP_NONE,
    GROUP_KV,
    GROUP_CLUSTER,
    GROUP_CONCURRENCY,
    GROUP_AUTH,
    GROUP_UTILITY,
} command_group_t;

typedef struct command {
    const char *name;
    const char *arguments; /* what follows the name in the usage line; may be NULL */
    const char *summary;
    const char *text; /* long help; NULL: the summary */
    command_group_t group;
    const flag_def_t *flags;               /* up to {0}; may be NULL, as the next two */
    const flag_def_t *shared_flags;        /* also valid for the children */
    const struct command *const *children; /* up to NULL */
    /* The exit code. NULL: the command only groups others and shows its help. */
    int (*run)(struct cli *cli, const strings_t *args);
} command_t;

#define COMMAND_DEPTH_MAX 4
#define COMMAND_FLAGS_MAX 32

/* A command and the way to it, root first. */
typedef struct command_path {
    const command_t *items[COMMAND_DEPTH_MAX];
    size_t n;
} command_path_t;

/* Follows the names in args; what is left for flags_parse is appended to *rest.
 * 0, or 1 when the root does not know the first word: *error_p is then a fresh text. `globals` are
 * the flags of the root, needed to tell names from values. */
int command_find(const command_t *root, const flag_def_t *globals, char *const *args, size_t n,
                 command_path_t *path, strings_t *rest, char **error_p)
    __attribute__((warn_unused_result));

const command_t *command_last(const command_path_t *path);
/* All flags the command takes: its own, those its parents share, the global ones. */
void command_flags(const command_path_t *path, const flag_def_t *globals, flags_t *flags);

void command_print_usage(const command_path_t *path, FILE *out);
void command_print_help(const command_path_t *path, FILE *out);
/* One line per flag, sorted and aligned. */
void command_print_flags(const flag_def_t *const *defs, size_t n, FILE *out);
