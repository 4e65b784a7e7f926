#include "cli/command.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "messages/xalloc.h"

const command_t *command_last(const command_path_t *path)
{
    return path->items[path->n - 1];
}

void command_flags(const command_path_t *path, const flag_def_t *globals, flags_t *flags)
{
    flags_add(flags, globals);
    for (size_t i = 0; i < path->n; i++) {
        flags_add(flags, path->items[i]->shared_flags);
    }
    flags_add(flags, command_last(path)->flags);
}

/* ---- names ---- */

/* Whether the argument is a flag whose value is the next argument. Flags that are not known are
 * taken to have one. */
static bool takes_next(const flags_t *flags, const char *arg)
{
    if (arg[0] != '-' || strchr(arg, '=') != NULL) {
        return false;
    }
    const flag_t *flag = NULL;
    if (arg[1] == '-') {
        flag = flags_find(flags, arg + 2, strlen(arg + 2));
        if (strcmp(arg, "--help") == 0) {
            return false;
        }
    } else if (strlen(arg) == 2) {
        flag = flags_find_shorthand(flags, arg[1]);
        if (arg[1] == 'h') {
            return false;
        }
    } else {
        return false;
    }
    return flag == NULL || flag->def->kind != FLAG_BOOL;
}

/* The index of the first argument that is neither a flag nor a flag's value; n when there is none. */
static size_t first_name(const flags_t *flags, char *const *args, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(args[i], "--") == 0) {
            return n;
        }
        if (takes_next(flags, args[i])) {
            i++;
        } else if (args[i][0] != '-' && args[i][0] != 0) {
            return i;
        }
    }
    return n;
}

static const command_t *child_named(const command_t *command, const char *name)
{
    const command_t *match = NULL;
    size_t matches = 0;
    for (size_t i = 0; command->children != NULL && command->children[i] != NULL; i++) {
        const command_t *child = command->children[i];
        if (strcmp(child->name, name) == 0) {
            return child;
        }
        if (strncmp(child->name, name, strlen(name)) == 0) {
            match = child;
            matches++;
        }
    }
    return matches == 1 ? match : NULL;
}

/* ---- suggestions ---- */

#define NAME_MAX_BYTES 32

/* Levenshtein distance without regard to case; far apart when a name is very long. */
static size_t distance(const char *a, const char *b)
{
    size_t a_n = strlen(a);
    size_t b_n = strlen(b);
    if (a_n > NAME_MAX_BYTES || b_n > NAME_MAX_BYTES) {
        return NAME_MAX_BYTES;
    }
    size_t row[NAME_MAX_BYTES + 1];
    for (size_t j = 0; j <= b_n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_n; j++) {
            size_t above = row[j];
            size_t best =
                diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            best = above + 1 < best ? above + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b_n];
}

static char *unknown_command(const command_t *root, const char *name)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    fprintf(out, "unknown command \"%s\" for \"%s\"", name, root->name);
    bool some = false;
    for (size_t i = 0; root->children[i] != NULL; i++) {
        const char *child = root->children[i]->name;
        if (distance(name, child) <= 2 || strncasecmp(child, name, strlen(name)) == 0) {
            fprintf(out, "%s\t%s\n", some ? "" : "\n\nDid you mean this?\n", child);
            some = true;
        }
    }
    fclose(out);
    return text;
}

int command_find(const command_t *root, const flag_def_t *globals, char *const *args, size_t n,
                 command_path_t *path, strings_t *rest, char **error_p)
{
    path->items[0] = root;
    path->n = 1;
    for (size_t i = 0; i < n; i++) {
        strings_add(rest, args[i]);
    }
    for (;;) {
        flags_t flags = {0};
        command_flags(path, globals, &flags);
        size_t at = first_name(&flags, rest->items, rest->n);
        flags_deinit(&flags);
        const command_t *command = command_last(path);
        const command_t *child = at < rest->n ? child_named(command, rest->items[at]) : NULL;
        if (child == NULL) {
            if (at < rest->n && path->n == 1) {
                *error_p = unknown_command(root, rest->items[at]);
                return 1;
            }
            return 0;
        }
        assert(path->n < COMMAND_DEPTH_MAX);
        path->items[path->n++] = child;
        free(rest->items[at]);
        memmove(&rest->items[at], &rest->items[at + 1], (rest->n - at - 1) * sizeof *rest->items);
        rest->n--;
    }
}

/* ---- help ---- */

static int compare_defs(const void *a, const void *b)
{
    const flag_def_t *const *left = a;
    const flag_def_t *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static const char *kind_name(flag_kind_t kind)
{
    switch (kind) {
    case FLAG_INT: return " int";
    case FLAG_STRING: return " string";
    case FLAG_DURATION: return " duration";
    case FLAG_STRINGS: return " strings";
    case FLAG_BOOL: break;
    }
    return "";
}

static void print_flag(const flag_def_t *def, int width, FILE *out)
{
    char shorthand[] = {'-', def->shorthand, ',', ' ', 0};
    int used = fprintf(out, "  %s--%s%s", def->shorthand != 0 ? shorthand : "    ", def->name,
                       kind_name(def->kind));
    fprintf(out, "%*s%s", width - used + 3, "", def->usage);
    bool zero = def->initial[0] == 0 || strcmp(def->initial, "false") == 0 ||
                strcmp(def->initial, "0") == 0;
    if (def->kind == FLAG_STRING && def->initial[0] != 0) {
        fprintf(out, " (default \"%s\")", def->initial);
    } else if (def->kind == FLAG_STRINGS) {
        fprintf(out, " (default [%s])", def->initial);
    } else if (!zero) {
        fprintf(out, " (default %s)", def->initial);
    }
    fputc('\n', out);
}

void command_print_flags(const flag_def_t *const *defs, size_t n, FILE *out)
{
    const flag_def_t *sorted[COMMAND_FLAGS_MAX];
    assert(n <= COMMAND_FLAGS_MAX);
    memcpy(sorted, defs, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), compare_defs);
    int width = 0;
    for (size_t i = 0; i < n; i++) {
        int size = (int)(8 + strlen(sorted[i]->name) + strlen(kind_name(sorted[i]->kind)));
        width = size > width ? size : width;
    }
    for (size_t i = 0; i < n; i++) {
        print_flag(sorted[i], width, out);
    }
}

static void print_children(const command_t *command, command_group_t group, FILE *out)
{
    for (size_t i = 0; command->children[i] != NULL; i++) {
        const command_t *child = command->children[i];
        if (child->group == group) {
            fprintf(out, "  %-11s %s\n", child->name, child->summary);
        }
    }
}

static void print_groups(const command_t *root, FILE *out)
{
    static const char *const titles[] = {
        [GROUP_KV] = "Keys and values",       [GROUP_CLUSTER] = "Cluster",
        [GROUP_CONCURRENCY] = "Coordination", [GROUP_AUTH] = "Users and roles",
        [GROUP_UTILITY] = "Utilities",
    };
    for (int group = GROUP_KV; group <= GROUP_UTILITY; group++) {
        fprintf(out, "\n%s:\n", titles[group]);
        print_children(root, (command_group_t)group, out);
    }
}

void command_print_usage(const command_path_t *path, FILE *out)
{
    const command_t *command = command_last(path);
    fprintf(out, "Usage:\n ");
    for (size_t i = 0; i < path->n; i++) {
        fprintf(out, " %s", path->items[i]->name);
    }
    if (command->children != NULL) {
        fprintf(out, " <command>\n");
        if (path->n == 1) {
            print_groups(command, out);
            fputc('\n', out);
            return;
        }
        fprintf(out, "\nCommands:\n");
        print_children(command, GROUP_NONE, out);
    } else {
        fprintf(out, "%s%s [flags]\n", command->arguments != NULL ? " " : "",
                command->arguments != NULL ? command->arguments : "");
    }
    static const flag_def_t help = {"help", 'h', FLAG_BOOL, "", "show this text"};
    flags_t flags = {0};
    command_flags(path, NULL, &flags);
    const flag_def_t *defs[COMMAND_FLAGS_MAX] = {&help};
    size_t n = 1;
    assert(flags.n < COMMAND_FLAGS_MAX);
    for (size_t i = 0; i < flags.n; i++) {
        defs[n++] = flags.items[i].def;
    }
    flags_deinit(&flags);
    fprintf(out, "\nFlags:\n");
    command_print_flags(defs, n, out);
    fputc('\n', out);
}

void command_print_help(const command_path_t *path, FILE *out)
{
    const command_t *command = command_last(path);
    fprintf(out, "%s\n\n", command->text != NULL ? command->text : command->summary);
    command_print_usage(path, out);
    fprintf(out, "\"%s options\" lists the flags that every command takes.\n",
            path->items[0]->name);
}
