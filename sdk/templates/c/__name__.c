/* Keeps a greeting in a file: appends the line when it is not there. */
#include "waft.h"

/* The file, bytes: it is read as a whole. */
#define FILE_BYTES_MAX ((size_t)1 << 20)

/* What is in the file, nothing if it is not there; NULL: it cannot be read. */
static const char *contents(const char *path) {
    waft_json stat;
    /* What was not given the host refuses here, with the line to paste. */
    if (!waft_stat(path, &stat)) return NULL;
    if (waft_kind_of(waft_get(stat, "kind")) == WAFT_NULL) return "";
    FILE *file = fopen(path, "r");
    if (!file) {
        waft_fail("greeting.read", NULL, "cannot open %s: %s", path, strerror(errno));
        return NULL;
    }
    char *text = (char *)waft_alloc(FILE_BYTES_MAX + 1);
    size_t length = fread(text, 1, FILE_BYTES_MAX + 1, file);
    bool whole = length <= FILE_BYTES_MAX && !ferror(file);
    fclose(file);
    if (!whole) {
        waft_fail("greeting.read", NULL, "cannot read %s, or it is longer than %zu bytes", path, FILE_BYTES_MAX);
        return NULL;
    }
    text[length] = 0;
    return text;
}

static bool has_line(const char *text, const char *line) {
    size_t length = strlen(line);
    while (*text) {
        size_t next = strcspn(text, "\n");
        if (next == length && memcmp(text, line, length) == 0) return true;
        text += next;
        if (*text) text++;
    }
    return false;
}

static bool append(const char *path, const char *before, const char *line) {
    size_t length = strlen(before);
    bool ended = length == 0 || before[length - 1] == '\n';
    FILE *file = fopen(path, "a");
    if (!file) return waft_fail("greeting.write", NULL, "cannot open %s: %s", path, strerror(errno));
    bool written = fprintf(file, "%s%s\n", ended ? "" : "\n", line) > 0;
    if (fclose(file) != 0 || !written) return waft_fail("greeting.write", NULL, "cannot write %s: %s", path, strerror(errno));
    return true;
}

static bool run(waft_json params, waft_outcome *outcome) {
    const char *path = waft_string(params, "path", "/tmp/{{name}}.txt");
    const char *name = waft_string(params, "name", "world");
    if (!waft_only(params, "path", "name", NULL) || waft_failed()) return false;
    if (path[0] != '/') return waft_fail("params.path", NULL, "`path` should be the absolute path of a file");
    if (!*name || strpbrk(name, "\r\n")) return waft_fail("params.name", NULL, "`name` should be one line of text");

    waft_writer line = {0};
    waft_add(&line, "Hello, ", 7);
    waft_add(&line, name, strlen(name));
    if (!waft_add(&line, "!", 1)) return false;
    const char *text = contents(path);
    if (!text) return false;
    /* In a dry run the host throws away what is written, and shows it. */
    outcome->changed = !has_line(text, line.text);
    if (outcome->changed && !append(path, text, line.text)) return false;
    outcome->msg = outcome->changed ? "greeted" : "was greeted before";
    return waft_put_string(&outcome->fields, "line", line.text);
}

#ifndef WAFT_FAKE
int main(void) { return waft_main(run); }
#endif
