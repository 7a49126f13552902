/*
 * qemu-blobstore: help
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "tool.h"

enum {
    WIDTH = 78,
    COLUMN = 30,                /* where the help of an option begins */
};

/* Prints @text from column @at on, in lines that begin at column @indent. */
static void print_wrapped(const char *text, int at, int indent)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);

    printf("%*s", MAX(indent - at, 0), "");
    at = MAX(at, indent);
    for (int n = 0; words[n]; n++) {
        int length = strlen(words[n]);

        if (n && at + 1 + length > WIDTH) {
            printf("\n%*s", indent, "");
            at = indent;
        } else if (n) {
            putchar(' ');
            at++;
        }
        printf("%s", words[n]);
        at += length;
    }
    putchar('\n');
}

static void print_option(const ToolOption *option)
{
    int at = option->letter ? printf("  -%c, --%s", option->letter,
                                     option->name)
                            : printf("  --%s", option->name);

    if (option->value) {
        at += printf("=%s", option->value);
    }
    if (at > COLUMN - 2) {
        putchar('\n');
        at = 0;
    }
    print_wrapped(option->help, at, COLUMN);
}

static void print_examples(const ToolCommand *command)
{
    g_auto(GStrv) lines = g_strsplit(command->examples, "\n", -1);

    printf("\nExamples:\n");
    for (int n = 0; *lines[n]; n++) {
        printf("  qemu-blobstore %s\n", lines[n]);
    }
}

static void print_command(const ToolCommand *command)
{
    printf("usage: qemu-blobstore %s [OPTIONS] %s\n\n", command->name,
           command->operands);
    print_wrapped(command->text, 0, 0);
    putchar('\n');
    for (const ToolOption *option = tool_options; option->name; option++) {
        if (option->help && tool_option_fits(option, command)) {
            print_option(option);
        }
    }
    print_examples(command);
}

static void print_exits(void)
{
    printf("\nExit status:\n");
    for (int status = 0; status < TOOL_EXIT__MAX; status++) {
        printf("  %d", status);
        print_wrapped(tool_exit_meaning(status), 3, 5);
    }
}

void tool_print_help(const ToolCommand *command, const char *group)
{
    if (command) {
        print_command(command);
        return;
    }
    printf("usage: qemu-blobstore COMMAND [OPTIONS] IMAGE...\n\n");
    for (command = tool_commands; command->name; command++) {
        if (!group || g_str_has_prefix(command->name, group)) {
            printf("  %-20s%s\n", command->name, command->summary);
        }
    }
    printf("\nqemu-blobstore COMMAND --help shows its options, with "
           "examples.\n");
    print_exits();
}
