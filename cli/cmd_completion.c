/* completion: scripts for shells, made from the tree of commands. */
#include <string.h>

#include "cli/cli.h"

/* "get put del …", or the flags of a command as "--prefix --rev …". */
static void print_names(const command_t *command, FILE *out)
{
    for (size_t i = 0; command->children[i] != NULL; i++) {
        fprintf(out, "%s%s", i > 0 ? " " : "", command->children[i]->name);
    }
}

static void print_flag_names(const flag_def_t *defs, FILE *out)
{
    for (; defs != NULL && defs->name != NULL; defs++) {
        fprintf(out, " --%s", defs->name);
    }
}

/* Calls `line` for every command that has no children, with the words that lead to it. */
static void each_leaf(FILE *out, void (*line)(FILE *out, const char *words,
                                              const command_t *command, const command_t *parent))
{
    for (size_t i = 0; command_root.children[i] != NULL; i++) {
        const command_t *command = command_root.children[i];
        if (command->children == NULL) {
            line(out, command->name, command, NULL);
            continue;
        }
        for (size_t k = 0; command->children[k] != NULL; k++) {
            char words[64];
            snprintf(words, sizeof words, "%s %s", command->name, command->children[k]->name);
            line(out, words, command->children[k], command);
        }
    }
}

/* ---- bash; zsh runs the same through its bashcompinit ---- */

static void bash_leaf(FILE *out, const char *words, const command_t *command,
                      const command_t *parent)
{
    fprintf(out, "        \"%s\") flags=\"", words);
    print_flag_names(command->flags, out);
    if (parent != NULL) {
        print_flag_names(parent->shared_flags, out);
    }
    fprintf(out, "\" ;;\n");
}

static void print_bash(FILE *out)
{
    fprintf(out,
            "# bash completion for quoralctl\n"
            "_quoralctl() {\n"
            "    local current=\"${COMP_WORDS[COMP_CWORD]}\" words=() word flags=\"\" names=\"\"\n"
            "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
            "        case \"$word\" in -*) ;; *) words+=(\"$word\") ;; esac\n"
            "    done\n"
            "    case \"${words[0]}\" in\n"
            "        \"\") names=\"");
    print_names(&command_root, out);
    fprintf(out, "\" ;;\n");
    for (size_t i = 0; command_root.children[i] != NULL; i++) {
        const command_t *command = command_root.children[i];
        if (command->children != NULL) {
            fprintf(out, "        %s) [ ${#words[@]} -eq 1 ] && names=\"", command->name);
            print_names(command, out);
            fprintf(out, "\" ;;\n");
        }
    }
    fprintf(out, "        completion) names=\"bash zsh fish powershell\" ;;\n"
                 "    esac\n"
                 "    case \"${words[*]:0:2}\" in\n");
    each_leaf(out, bash_leaf);
    fprintf(out, "    esac\n"
                 "    flags=\"$flags --help");
    print_flag_names(cli_global_flags, out);
    fprintf(out, "\"\n"
                 "    case \"$current\" in\n"
                 "        -*) COMPREPLY=($(compgen -W \"$flags\" -- \"$current\")) ;;\n"
                 "        *) COMPREPLY=($(compgen -W \"$names\" -- \"$current\")) ;;\n"
                 "    esac\n"
                 "}\n"
                 "complete -o default -F _quoralctl quoralctl\n");
}

static void print_zsh(FILE *out)
{
    fprintf(out, "#compdef quoralctl\n"
                 "autoload -U +X bashcompinit && bashcompinit\n");
    print_bash(out);
}

/* ---- fish ---- */

static void fish_flags(FILE *out, const char *condition, const flag_def_t *defs)
{
    for (; defs != NULL && defs->name != NULL; defs++) {
        fprintf(out, "complete -c quoralctl%s -l %s%s -d \"%s\"\n", condition, defs->name,
                defs->kind == FLAG_BOOL ? "" : " -r", defs->usage);
    }
}

static void fish_children(FILE *out, const char *condition, const command_t *command)
{
    for (size_t i = 0; command->children[i] != NULL; i++) {
        fprintf(out, "complete -c quoralctl -f -n \"%s\" -a %s -d \"%s\"\n", condition,
                command->children[i]->name, command->children[i]->summary);
    }
}

static void print_fish(FILE *out)
{
    fprintf(out, "# fish completion for quoralctl\n");
    fish_children(out, "__fish_use_subcommand", &command_root);
    for (size_t i = 0; command_root.children[i] != NULL; i++) {
        const command_t *command = command_root.children[i];
        char condition[96];
        snprintf(condition, sizeof condition, "__fish_seen_subcommand_from %s", command->name);
        if (command->children != NULL) {
            fish_children(out, condition, command);
        }
        snprintf(condition, sizeof condition, " -n \"__fish_seen_subcommand_from %s\"",
                 command->name);
        fish_flags(out, condition, command->flags);
        fish_flags(out, condition, command->shared_flags);
    }
    fprintf(out, "complete -c quoralctl -f -n \"__fish_seen_subcommand_from completion\" -a \"bash "
                 "zsh fish powershell\"\n");
    fish_flags(out, "", cli_global_flags);
}

/* ---- powershell ---- */

static void powershell_leaf(FILE *out, const char *words, const command_t *command,
                            const command_t *parent)
{
    fprintf(out, "    '%s' = '", words);
    print_flag_names(command->flags, out);
    if (parent != NULL) {
        print_flag_names(parent->shared_flags, out);
    }
    fprintf(out, "'\n");
}

static void print_powershell(FILE *out)
{
    fprintf(out, "# powershell completion for quoralctl\n"
                 "$quoralctlNames = @{\n"
                 "    '' = '");
    print_names(&command_root, out);
    fprintf(out, "'\n    'completion' = 'bash zsh fish powershell'\n");
    for (size_t i = 0; command_root.children[i] != NULL; i++) {
        const command_t *command = command_root.children[i];
        if (command->children != NULL) {
            fprintf(out, "    '%s' = '", command->name);
            print_names(command, out);
            fprintf(out, "'\n");
        }
    }
    fprintf(out, "}\n$quoralctlFlags = @{\n");
    each_leaf(out, powershell_leaf);
    fprintf(out, "}\n$quoralctlGlobalFlags = '--help");
    print_flag_names(cli_global_flags, out);
    fprintf(out,
            "'\n"
            "Register-ArgumentCompleter -Native -CommandName quoralctl -ScriptBlock {\n"
            "    param($word, $ast, $position)\n"
            "    $words = @($ast.CommandElements | Select-Object -Skip 1 |\n"
            "        Where-Object { $_.Extent.EndOffset -lt $position } |\n"
            "        ForEach-Object { $_.ToString() } | Where-Object { $_ -notlike '-*' })\n"
            "    $path = $words -join ' '\n"
            "    $options = if ($word -like '-*') {\n"
            "        \"$($quoralctlFlags[$path]) $quoralctlGlobalFlags\"\n"
            "    } else { $quoralctlNames[$path] }\n"
            "    \"$options\" -split ' ' | Where-Object { $_ -and $_ -like \"$word*\" } |\n"
            "        ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }\n"
            "}\n");
}

static int run_completion(cli_t *cli, const strings_t *args)
{
    static const struct {
        const char *shell;
        void (*print)(FILE *out);
    } shells[] = {
        {"bash", print_bash},
        {"zsh", print_zsh},
        {"fish", print_fish},
        {"powershell", print_powershell},
    };
    if (args->n != 1) {
        return cli_fail(cli, EXIT_ERROR, "accepts 1 arg(s), received %zu", args->n);
    }
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(shells[i].shell, args->items[0]) == 0) {
            shells[i].print(cli->out);
            return EXIT_DONE;
        }
    }
    return cli_fail(cli, EXIT_ERROR, "invalid argument \"%s\" for \"quoralctl completion\"",
                    args->items[0]);
}

const command_t command_completion = {
    .name = "completion",
    .arguments = "bash|zsh|fish|powershell",
    .summary = "Prints a script that teaches a shell the commands",
    .text = "Prints a script that teaches a shell the commands and flags. To use it at once:\n\n"
            "  bash        source <(quoralctl completion bash)\n"
            "  zsh         source <(quoralctl completion zsh)\n"
            "  fish        quoralctl completion fish | source\n"
            "  powershell  quoralctl completion powershell | Out-String | Invoke-Expression",
    .group = GROUP_UTILITY,
    .run = run_completion,
};
