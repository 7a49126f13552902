/*
 * qemu-blobstore: its man page and its completion for bash
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "tool.h"

/* Prints @text so that troff takes it literally. */
static void print_text(const char *text)
{
    bool starts = true;         /* a line */

    for (; *text; text++) {
        if (starts && (*text == '.' || *text == '\'')) {
            printf("\\&");
        }
        if (*text == '\\') {
            printf("\\e");
        } else if (*text == '-') {
            printf("\\-");
        } else {
            putchar(*text);
        }
        starts = *text == '\n';
    }
}

/* A line of a macro */
static void print_line(const char *macro, const char *text)
{
    printf("%s ", macro);
    print_text(text);
    putchar('\n');
}

static void print_paragraphs(const char *text)
{
    g_auto(GStrv) paragraphs = g_strsplit(text, "\n\n", -1);

    for (int n = 0; paragraphs[n]; n++) {
        printf(".PP\n");
        print_text(paragraphs[n]);
        putchar('\n');
    }
}

static void print_option_names(const ToolCommand *command)
{
    const char *between = "";

    printf(".PP\nOptions: ");
    for (const ToolOption *option = tool_options; option->name; option++) {
        if (option->group && tool_option_fits(option, command)) {
            printf("%s\\fB\\-\\-", between);
            print_text(option->name);
            printf("\\fR");
            between = ", ";
        }
    }
    printf("\n");
}

static void print_command(const ToolCommand *command)
{
    g_auto(GStrv) examples = g_strsplit(command->examples, "\n", -1);

    print_line(".SS", command->name);
    printf(".B qemu\\-blobstore ");
    print_text(command->name);
    printf("\n[\\fIOPTIONS\\fR] \\fI");
    print_text(command->operands);
    printf("\\fR\n");
    print_paragraphs(command->text);
    print_option_names(command);
    for (int n = 0; *examples[n]; n++) {
        printf(".PP\n.RS 4\nqemu\\-blobstore ");
        print_text(examples[n]);
        printf("\n.RE\n");
    }
}

static void print_option(const ToolOption *option)
{
    printf(".TP\n");
    if (option->letter) {
        printf("\\fB\\-%c\\fR, ", option->letter);
    }
    printf("\\fB\\-\\-");
    print_text(option->name);
    printf("\\fR");
    if (option->value) {
        printf("=\\fI");
        print_text(option->value);
        printf("\\fR");
    }
    putchar('\n');
    print_text(option->help);
    printf(".\n");
}

void tool_print_man(void)
{
    printf(".TH QEMU\\-BLOBSTORE 1 \"\" \"QEMU\" \"User Commands\"\n"
           ".SH NAME\n"
           "qemu\\-blobstore \\- stores of device state in disk images\n"
           ".SH SYNOPSIS\n"
           ".B qemu\\-blobstore\n"
           "\\fICOMMAND\\fR [\\fIOPTIONS\\fR] \\fIIMAGE\\fR...\n"
           ".SH DESCRIPTION\n"
           "A blob store is an image in which QEMU keeps the state of devices "
           "that must not be lost, such as that of a TPM.\n"
           "qemu\\-blobstore works on an image that no VM uses: it takes the "
           "same locks as QEMU.\n"
           "A command that is killed, at whatever moment, leaves the store as "
           "it was before or as it is after the command.\n"
           ".SH COMMANDS\n");
    for (const ToolCommand *command = tool_commands; command->name;
         command++) {
        print_command(command);
    }
    printf(".SH OPTIONS\n");
    for (const ToolOption *option = tool_options; option->name; option++) {
        if (option->help) {
            print_option(option);
        }
    }
    printf(".SH EXIT STATUS\n");
    for (int status = 0; status < TOOL_EXIT__MAX; status++) {
        printf(".TP\n.B %d\n", status);
        print_text(tool_exit_meaning(status));
        putchar('\n');
    }
    printf(".SH SEE ALSO\n"
           ".BR qemu\\-img (1),\n"
           ".BR qemu (1)\n");
}

/* The words that may follow "qemu-blobstore @group" */
static void print_words(const char *group)
{
    size_t skip = strlen(group);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                       g_free, NULL);

    for (const ToolCommand *command = tool_commands; command->name;
         command++) {
        if (!strncmp(command->name, group, skip)) {
            const char *word = command->name + skip;
            g_autofree char *first = g_strndup(word, strcspn(word, " "));

            if (!g_hash_table_contains(seen, first)) {
                printf(" %s", first);
                g_hash_table_add(seen, g_steal_pointer(&first));
            }
        }
    }
}

/* The patterns of case that offer the words of commands with two words */
static void print_groups(void)
{
    const char *last = "";

    for (const ToolCommand *command = tool_commands; command->name;
         command++) {
        size_t length = strcspn(command->name, " ");

        if (command->name[length] && strncmp(command->name, last, length)) {
            g_autofree char *group = g_strndup(command->name, length + 1);

            printf("    '%s') words='", group);
            print_words(group);
            printf("' ;;\n");
            last = command->name;
        }
    }
}

static void print_command_options(const ToolCommand *command)
{
    printf("    '%s '*) options='", command->name);
    for (const ToolOption *option = tool_options; option->name; option++) {
        if (option->help && tool_option_fits(option, command)) {
            printf(" --%s%s", option->name,
                   option->kind == TOOL_FLAG ? "" : "=");
        }
    }
    printf("' ;;\n");
}

static void print_choices(void)
{
    for (const ToolOption *option = tool_options; option->name; option++) {
        if (option->kind == TOOL_CHOICE) {
            g_auto(GStrv) words = g_strsplit(option->value, "|", -1);
            g_autofree char *all = g_strjoinv(" ", words);

            printf("        --%s) words='%s' ;;\n", option->name, all);
        }
    }
}

void tool_print_completion(void)
{
    printf("# bash completion for qemu-blobstore; made by its build\n"
           "_qemu_blobstore() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} words= options= option=\n"
           "    local line=\"${COMP_WORDS[*]:1:COMP_CWORD-1} \"\n"
           "    # Bash takes --option=value apart at the '='.\n"
           "    if [[ $cur = '=' ]]; then\n"
           "        cur= option=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    elif [[ ${COMP_WORDS[COMP_CWORD-1]} = '=' ]]; then\n"
           "        option=${COMP_WORDS[COMP_CWORD-2]}\n"
           "    fi\n"
           "    if [[ $option ]]; then\n"
           "        case $option in\n");
    print_choices();
    printf("        esac\n"
           "    fi\n"
           "    [[ $option ]] || case $line in\n"
           "    ' ') words='--help --version");
    print_words("");
    printf("' ;;\n");
    print_groups();
    for (const ToolCommand *command = tool_commands; command->name;
         command++) {
        print_command_options(command);
    }
    printf("    esac\n"
           "    [[ $cur != -* ]] || words=$options\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
           "    [[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace\n"
           "}\n"
           "complete -o default -F _qemu_blobstore qemu-blobstore\n");
}
