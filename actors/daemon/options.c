#include "actors/daemon/options.h"

#include <stdlib.h>
#include <string.h>

#include "actors/daemon/go_value.h"
#include "actors/daemon/options_steps.h"
#include "messages/json.h"
#include "messages/xalloc.h"

void options_note(options_t *self, log_level_t level, const char *text, const char *fields)
{
    self->notes =
        xgrow(self->notes, &self->note_capacity, self->note_count + 1, sizeof *self->notes);
    self->notes[self->note_count++] =
        (option_note_t){.level = level, .text = xstrdup(text), .fields = xstrdup(fields)};
}

char *options_field(const char *key, const char *value)
{
    buf_t out = {0};
    buf_json_string(&out, slice_str(key));
    buf_byte(&out, ':');
    buf_json_string(&out, slice_str(value));
    buf_byte(&out, '\0');
    return (char *)out.data;
}

void options_deinit(options_t *self)
{
    for (size_t i = 0; i < self->note_count; i++) {
        free(self->notes[i].text);
        free(self->notes[i].fields);
    }
    free(self->notes);
    for (size_t i = 0; i < self->log.output_count; i++) {
        free(self->log.outputs[i]);
    }
    free(self->log.outputs);
    free(self->name);
    free(self->data_dir);
    free(self->wal_dir);
    free(self->initial_cluster);
    free(self->initial_cluster_token);
    free(self->peer_curve_secret_key);
    free(self->peer_curve_allowed_keys);
    free(self->native_curve_secret_key);
    free(self->native_curve_allowed_keys);
    urls_deinit(&self->listen_peer);
    urls_deinit(&self->listen_client);
    urls_deinit(&self->advertise_peer);
    urls_deinit(&self->advertise_client);
    urls_deinit(&self->listen_native);
    urls_deinit(&self->listen_publish);
    urls_deinit(&self->advertise_publish);
    *self = (options_t){0};
}

/* The one way out for everything that is wrong but well-formed. Takes the error. */
static int fail(options_t *self, char *error)
{
    char *fields = options_field("error", error);
    options_note(self, LEVEL_WARN, "failed to verify flags", fields);
    free(fields);
    free(error);
    return 1;
}

static int load_file(flag_set_t *flags, const char *path, options_read_t read_file, options_t *self)
{
    buf_t content = {0};
    char *error = read_file(path, &content);
    if (!error) {
        error = options_parse_yaml(flags, buf_slice(&content), self);
    }
    buf_deinit(&content);
    if (error) {
        char *text = xasprintf("configuration file %s: %s", path, error);
        free(error);
        return fail(self, text);
    }
    /* Listening elsewhere without advertising it is an error on the command line only. */
    flags->values[FLAG_ADVERTISE_CLIENT].is_set = true;
    char *fields = options_field("path", path);
    options_note(self, LEVEL_INFO,
                 "loaded server configuration, other configuration command line flags and "
                 "environment variables will be ignored if provided",
                 fields);
    free(fields);
    return 0;
}

/* A file replaces command line and environment altogether. */
static int load_values(flag_set_t *flags, char *const *environment, options_read_t read_file,
                       options_t *self)
{
    const char *path = flags->values[FLAG_CONFIG_FILE].text;
    if (*path == '\0') {
        int code = options_env_value(FLAG_CONFIG_FILE, environment, self, &path);
        if (code != 0) {
            return code;
        }
    }
    if (*path == '\0') {
        return options_parse_env(flags, environment, self);
    }
    char *copy = xstrdup(path);
    flag_set_deinit(flags);
    flag_set_init(flags);
    int code = load_file(flags, copy, read_file, self);
    free(copy);
    return code;
}

static int parse(flag_set_t *flags, int argc, char *const *argv, char *const *environment,
                 options_read_t read_file, options_t *self, char **message)
{
    bool help = false;
    const char *stray = NULL;
    int code = options_parse_args(flags, argc, argv, &help, &stray, message);
    if (code != 0) {
        return code;
    }
    if (help) {
        self->action = OPTIONS_HELP;
        return 0;
    }
    if (stray) {
        char *quoted = go_quote(stray);
        char *error = xasprintf("%s is not a valid flag", quoted);
        free(quoted);
        return fail(self, error);
    }
    if (flags->values[FLAG_VERSION].yes) {
        self->action = OPTIONS_VERSION;
        return 0;
    }
    if (flags->values[FLAG_PRINT_WIRING].yes) {
        self->action = OPTIONS_PRINT_WIRING;
        return 0;
    }
    code = load_values(flags, environment, read_file, self);
    if (code != 0) {
        return code;
    }
    char *error = options_check(flags, self);
    return error ? fail(self, error) : 0;
}

int options_parse(int argc, char *const *argv, char *const *environment, options_read_t read_file,
                  options_t *self, char **message)
{
    flag_set_t flags;
    flag_set_init(&flags);
    *message = NULL;
    int code = parse(&flags, argc, argv, environment, read_file, self, message);
    flag_set_deinit(&flags);
    return code;
}
