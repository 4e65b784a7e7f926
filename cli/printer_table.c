/* -w table: a box with centred capital titles; cells are aligned to the right. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/go_format.h"
#include "cli/printer.h"
#include "messages/xalloc.h"

/* Columns a text takes, one per rune: addresses and names hold no wide characters. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    size_t size = strlen(text);
    for (size_t i = 0; i < size;) {
        size_t length = 0;
        (void)go_decode_rune((const uint8_t *)text + i, size - i, &length);
        i += length;
        width++;
    }
    return width;
}

static void repeat(FILE *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fputs(text, out);
    }
}

static void print_border(FILE *out, const size_t *widths, size_t n, const char *const marks[3])
{
    for (size_t i = 0; i < n; i++) {
        fputs(i == 0 ? marks[0] : marks[1], out);
        repeat(out, "─", widths[i] + 2);
    }
    fprintf(out, "%s\n", marks[2]);
}

static void print_titles(FILE *out, const cells_t *cells, const size_t *widths)
{
    for (size_t i = 0; i < cells->columns; i++) {
        size_t padding = widths[i] - width_of(cells->titles[i]);
        fputs("│ ", out);
        repeat(out, " ", padding / 2);
        for (const char *c = cells->titles[i]; *c != 0; c++) {
            fputc(toupper((unsigned char)*c), out);
        }
        repeat(out, " ", padding - padding / 2 + 1);
    }
    fputs("│\n", out);
}

static void print_row(FILE *out, const cells_t *cells, const size_t *widths, size_t row)
{
    for (size_t i = 0; i < cells->columns; i++) {
        const char *cell = cells->items[row * cells->columns + i];
        fputs("│ ", out);
        repeat(out, " ", widths[i] - width_of(cell));
        fprintf(out, "%s ", cell);
    }
    fputs("│\n", out);
}

static void print_table(printer_t *self, cells_t cells)
{
    static const char *const top[] = {"┌", "┬", "┐"};
    static const char *const middle[] = {"├", "┼", "┤"};
    static const char *const bottom[] = {"└", "┴", "┘"};
    size_t *widths = xcalloc(cells.columns, sizeof *widths);
    for (size_t i = 0; i < cells.columns; i++) {
        widths[i] = width_of(cells.titles[i]);
        for (size_t row = 0; row < cells.rows; row++) {
            size_t width = width_of(cells.items[row * cells.columns + i]);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    print_border(self->out, widths, cells.columns, top);
    print_titles(self->out, &cells, widths);
    if (cells.rows > 0) {
        print_border(self->out, widths, cells.columns, middle);
    }
    for (size_t row = 0; row < cells.rows; row++) {
        print_row(self->out, &cells, widths, row);
    }
    print_border(self->out, widths, cells.columns, bottom);
    free(widths);
    cells_deinit(&cells);
}

static void table_members(printer_t *self, const Etcdserverpb__MemberListResponse *answer)
{
    print_table(self, printer_member_cells(answer));
}

static void table_health(printer_t *self, const endpoint_health_t *items, size_t n)
{
    print_table(self, printer_health_cells(items, n));
}

static void table_status(printer_t *self, const endpoint_status_t *items, size_t n)
{
    print_table(self, printer_status_cells(items, n));
}

static void table_hashkv(printer_t *self, const endpoint_hashkv_t *items, size_t n)
{
    print_table(self, printer_hashkv_cells(items, n));
}

const printer_ops_t printer_table = {
    .members = table_members,
    .health = table_health,
    .status = table_status,
    .hashkv = table_hashkv,
};
