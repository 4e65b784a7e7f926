#include <stdlib.h>
#include <string.h>

#include "actors/daemon/flags.h"
#include "messages/xalloc.h"

static void say(buf_t *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

void flags_print_usage(buf_t *out)
{
    say(out,
        "Usage:\n"
        "\n"
        "  quorald [flags]\n"
        "    Start a server.\n"
        "\n"
        "  quorald --version\n"
        "    Show the version.\n"
        "\n"
        "  quorald -h | --help\n"
        "    Show all flags.\n"
        "\n"
        "  quorald --config-file <path>\n"
        "    Read the configuration from a YAML or JSON file. Other flags and the environment\n"
        "    are then ignored. Durations in the file are integers: nanoseconds.\n"
        "\n"
        "  quorald --print-wiring\n"
        "    Show the actors and who talks to whom, as Graphviz.\n");
}

static const char *section_title(flag_section_t section)
{
    switch (section) {
    case FLAG_SECTION_MEMBER: return "Member";
    case FLAG_SECTION_CLUSTERING: return "Clustering";
    case FLAG_SECTION_SECURITY: return "Security";
    case FLAG_SECTION_AUTH: return "Auth";
    case FLAG_SECTION_MONITORING: return "Profiling and Monitoring";
    case FLAG_SECTION_LOGGING: return "Logging";
    case FLAG_SECTION_TRACING: return "Distributed tracing";
    case FLAG_SECTION_FEATURES: return "Features";
    case FLAG_SECTION_UNSAFE: return "Unsafe feature";
    default: return "Program";
    }
}

static void print_flag(buf_t *out, const flag_info_t *info)
{
    char *head = info->section == FLAG_SECTION_PROGRAM
                     ? xasprintf("  --%s\n", info->name)
                     : xasprintf("  --%s '%s'\n", info->name, info->initial);
    say(out, head);
    free(head);
    char *help = xasprintf("    %s\n", info->help);
    say(out, help);
    free(help);
    if (info->support == FLAG_SUPPORT_LATER || info->support == FLAG_SUPPORT_INERT) {
        char *note = info->support == FLAG_SUPPORT_LATER
                         ? xasprintf("    (Not supported yet: only the default is accepted.)\n")
                         : xasprintf("    (Accepted without effect: %s.)\n", info->detail);
        say(out, note);
        free(note);
    }
}

void flags_print_help(buf_t *out)
{
    for (unsigned section = 0; section < FLAG_SECTION_COUNT; section++) {
        say(out, "\n");
        say(out, section_title((flag_section_t)section));
        say(out, ":\n");
        for (unsigned i = 0; i < FLAG_COUNT; i++) {
            if (flag_info((flag_t)i)->section == section) {
                print_flag(out, flag_info((flag_t)i));
            }
        }
    }
    say(out, "\n"
             "Every flag can also be given by the environment: --data-dir as QUORAL_DATA_DIR or\n"
             "ETCD_DATA_DIR.\n");
}
