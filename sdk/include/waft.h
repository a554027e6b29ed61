/* Tasks for waft in C: parameters, results, and the host interface waft_v1. docs/waft-v1.md says what each function takes
 * and answers; docs/task-authors.md what a task is. This file is all there is: copy it beside the task.
 *
 * Build: clang --target=wasm32-wasip1 -Oz -s -o task.wasm task.c
 *
 *     static bool run(waft_json params, waft_outcome *outcome) {
 *         const char *path = waft_string(params, "path", NULL);
 *         if (!waft_only(params, "path", NULL) || waft_failed()) return false;
 *         ..
 *         outcome->changed = true;
 *         return true;
 *     }
 *     int main(void) { return waft_main(run); }
 *
 * Errors: a function that fails returns false (or NULL, or -1) and the first failure is kept until waft_clear; waft_main
 * prints it. Memory: what these functions give lives until waft_release, or until the task ends. A task has one thread.
 *
 * Tests run without a target: compile for this machine with WAFT_FAKE defined, see the end of this file.
 */
#ifndef WAFT_H
#define WAFT_H

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An address or length that is not inside the memory; a request longer than 1 MiB; one that is no UTF-8. */
#define WAFT_BAD_ADDRESS (-1)
#define WAFT_TOO_LONG (-2)
#define WAFT_NOT_UTF8 (-3)
/* A read or write that failed: `take` gives the reason. */
#define WAFT_FAILED (-4)

/* Parameters, bytes: more than waft sends. Beyond it they travel as blobs. */
#define WAFT_PARAMS_BYTES_MAX ((size_t)1 << 20)
/* A JSON text that is written, bytes: a host takes no request over 1 MiB, and no result. */
#define WAFT_TEXT_BYTES_MAX ((size_t)4 << 20)
/* Objects and arrays in each other, read or written. */
#define WAFT_DEPTH_MAX 128
/* What `read` and `write` move at most, bytes. */
#define WAFT_MOVE_BYTES_MAX ((size_t)32 << 10)
/* The message of a failure, bytes. */
#define WAFT_ERROR_BYTES_MAX ((size_t)64 << 10)
/* The reason of a failed read or write, bytes. */
#define WAFT_REASON_BYTES_MAX ((size_t)16 << 10)

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The imports as they are. waft_call and the functions below it are easier. */

#ifdef __wasm__
#define WAFT_IMPORT(name) __attribute__((import_module("waft_v1"), import_name(name)))
#else
#define WAFT_IMPORT(name)
#endif

/* Each takes one JSON object and returns the length of the answer, or one of the numbers above. */
WAFT_IMPORT("exec") int32_t waft_v1_exec(const char *request, size_t length);
WAFT_IMPORT("facts") int32_t waft_v1_facts(const char *request, size_t length);
WAFT_IMPORT("file") int32_t waft_v1_file(const char *request, size_t length);
WAFT_IMPORT("net") int32_t waft_v1_net(const char *request, size_t length);
WAFT_IMPORT("task") int32_t waft_v1_task(const char *request, size_t length);
WAFT_IMPORT("blob") int32_t waft_v1_blob(const char *request, size_t length);
WAFT_IMPORT("secret") int32_t waft_v1_secret(const char *request, size_t length);
WAFT_IMPORT("emit") int32_t waft_v1_emit(const char *request, size_t length);

/* Copies the next bytes of the answer and returns how many; 0 when all was taken. */
WAFT_IMPORT("take") int32_t waft_v1_take(char *buffer, size_t length);

/* Bytes behind a handle of `net` or `blob`: how many were moved, at most 32 KiB at once; 0 is the end. */
WAFT_IMPORT("read") int32_t waft_v1_read(uint32_t handle, void *buffer, size_t length);
WAFT_IMPORT("write") int32_t waft_v1_write(uint32_t handle, const void *bytes, size_t length);

/* ---- Types. */

typedef struct waft_error {
    const char *code;    /* stable, lower-case, dotted: grant.missing */
    const char *message; /* one sentence */
    const char *hint;    /* what to do, or NULL */
} waft_error;

typedef enum waft_kind {
    WAFT_NONE, /* there is no such value */
    WAFT_NULL,
    WAFT_BOOL,
    WAFT_NUMBER,
    WAFT_STRING,
    WAFT_ARRAY,
    WAFT_OBJECT
} waft_kind;

/* A value in a JSON text that was checked: `length` bytes from `text`, or NULL. `code` is for errors about it. */
typedef struct waft_json {
    const char *text;
    size_t length;
    const char *code;
} waft_json;

/* Where a walk over an object or array is; see waft_next. */
typedef struct waft_walk {
    const char *at, *end, *code;
    bool object;
} waft_walk;

/* A JSON text that is being written; begin with {0}. */
typedef struct waft_writer {
    char *text;
    size_t length, size;
    unsigned depth;
    bool empty;  /* nothing yet in the innermost object or array */
    bool failed; /* something could not be written: it is not sent */
    char closers[WAFT_DEPTH_MAX];
} waft_writer;

/* What a task answers. */
typedef struct waft_outcome {
    bool changed;       /* whether anything was changed; in a dry run, whether it would have been */
    const char *msg;    /* one sentence for people, or NULL */
    waft_writer fields; /* the task's own: waft_put_string(&outcome->fields, "name", text) */
} waft_outcome;

/* A task: false, or a failure that is kept, when it did not do what it should. */
typedef bool (*waft_run)(waft_json params, waft_outcome *outcome);

/* A program to start; begin with {0}. docs/waft-v1.md says what each field does. */
typedef struct waft_program {
    const char *const *argv; /* ends with NULL */
    const char *const *env;  /* NAME, value, NAME, value, .., NULL; or NULL */
    const void *input;       /* its stdin */
    size_t input_length;
    const char *cwd, *user;
    const char *out, *err;   /* capture, inherit or null; NULL is capture */
    uint32_t timeout_ms, limit_bytes;
    bool confine, replace;
} waft_program;

/* How it ended, and what it wrote as far as that was captured. */
typedef struct waft_output {
    int exit_code; /* -1: a signal ended it */
    int signal;    /* 0: none */
    bool timed_out, out_truncated, err_truncated;
    const char *out, *err; /* with a NUL behind them, and never NULL */
    size_t out_length, err_length;
    int64_t ms;
} waft_output;

/* ---- State: one for all files of a program. */

typedef struct waft_block {
    struct waft_block *before;
} waft_block;

typedef struct waft_state_type {
    waft_block *blocks;
    bool failed;
    waft_error error;
    char *texts; /* those of the error, one behind the other */
} waft_state_type;

__attribute__((weak)) waft_state_type waft_state;

/* ---- Memory. */

static inline void *waft_alloc(size_t size) {
    waft_block *block = size < SIZE_MAX / 2 ? (waft_block *)malloc(sizeof(waft_block) + size) : NULL;
    if (!block) {
        fputs("{\"changed\":false,\"msg\":\"out of memory\",\"error\":{\"code\":\"task.memory\","
              "\"message\":\"out of memory\",\"hint\":\"--allow mem:SIZE\"}}\n", stdout);
        exit(1);
    }
    block->before = waft_state.blocks;
    waft_state.blocks = block;
    return block + 1;
}

/* What was given since `mark = waft_mark()` is freed by waft_release(mark); by waft_release(NULL) everything. */
static inline void *waft_mark(void) { return waft_state.blocks; }

static inline void waft_release(void *mark) {
    while (waft_state.blocks && waft_state.blocks != mark) {
        waft_block *before = waft_state.blocks->before;
        free(waft_state.blocks);
        waft_state.blocks = before;
    }
}

static inline char *waft_copy(const char *text, size_t length) {
    char *copy = (char *)waft_alloc(length + 1);
    if (length) memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

/* ---- Errors. */

/* How many bytes at `text` are one character of UTF-8; 0: none. */
static inline size_t waft_utf8(const char *text, size_t length) {
    const unsigned char *at = (const unsigned char *)text;
    if (length == 0) return 0;
    if (at[0] < 0x80) return 1;
    if (at[0] < 0xc2 || at[0] > 0xf4) return 0;
    size_t count = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (count > length) return 0;
    for (size_t i = 1; i < count; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    /* Longer than needed, halves of pairs, beyond the last character. */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
    if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
    return count;
}

/* As much of a text as there is room for, in whole characters; what is no UTF-8 becomes a question mark. */
static inline void waft_fit(char *into, size_t room, const char *text, size_t length) {
    size_t used = 0;
    while (length > 0) {
        size_t count = waft_utf8(text, length);
        size_t put = count ? count : 1;
        if (used + put >= room) break;
        if (count) memcpy(into + used, text, count);
        else into[used] = '?';
        used += put;
        text += put;
        length -= put;
    }
    into[used] = 0;
}

/* Keeps a failure, if there is none yet, and returns false: return waft_fail("greeting.kind", NULL, "%s is no file", path);
 * Codes params.* make the exit code 2, grant.* 125, others 1. */
__attribute__((format(printf, 3, 4)))
static inline bool waft_fail(const char *code, const char *hint, const char *format, ...) {
    if (waft_state.failed) return false;
    va_list words, again;
    va_start(words, format);
    va_copy(again, words);
    int needed = vsnprintf(NULL, 0, format, words);
    va_end(words);
    size_t length = needed < 0 ? 0 : (size_t)needed;
    if (length > WAFT_ERROR_BYTES_MAX) length = WAFT_ERROR_BYTES_MAX;
    size_t code_room = strlen(code) + 1, hint_room = hint ? strlen(hint) + 1 : 0;
    char *texts = (char *)malloc(code_room + hint_room + 2 * (length + 1));
    waft_state.failed = true;
    waft_state.texts = texts;
    if (texts) {
        char *message = texts + code_room + hint_room, *raw = message + length + 1;
        raw[0] = 0;
        vsnprintf(raw, length + 1, format, again);
        waft_fit(texts, code_room, code, code_room - 1);
        if (hint) waft_fit(texts + code_room, hint_room, hint, hint_room - 1);
        waft_fit(message, length + 1, raw, strlen(raw));
        waft_state.error.code = texts;
        waft_state.error.message = message;
        waft_state.error.hint = hint ? texts + code_room : NULL;
    } else {
        waft_state.error.code = "task.memory";
        waft_state.error.message = "out of memory";
        waft_state.error.hint = NULL;
    }
    va_end(again);
    return false;
}

static inline bool waft_failed(void) { return waft_state.failed; }

/* The first failure since waft_clear, or NULL. It is gone with the next waft_clear. */
static inline const waft_error *waft_problem(void) { return waft_state.failed ? &waft_state.error : NULL; }

/* Whether there was a failure with this code, or with one that begins with it and a dot. */
static inline bool waft_failed_with(const char *code) {
    size_t length = strlen(code);
    if (!waft_state.failed || strncmp(waft_state.error.code, code, length) != 0) return false;
    return waft_state.error.code[length] == 0 || waft_state.error.code[length] == '.';
}

static inline void waft_clear(void) {
    free(waft_state.texts);
    waft_state.texts = NULL;
    waft_state.failed = false;
}

/* ---- Reading JSON: a text is checked once, as a whole; values are pieces of it. */

static inline const char *waft_blank(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

/* Four hex digits, or -1. */
static inline int32_t waft_hex(const char *at, const char *end) {
    static const char digits[] = "0123456789abcdefABCDEF";
    int32_t value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char *digit = at[i] ? strchr(digits, at[i]) : NULL;
        if (!digit) return -1;
        value = value * 16 + (int32_t)(digit - digits < 16 ? digit - digits : digit - digits - 6);
    }
    return value;
}

/* What is behind the string, number or word at `at`; NULL when it is none. */
static inline const char *waft_scan_string(const char *at, const char *end) {
    for (at++; at < end && *at != '"';) {
        if ((unsigned char)*at < 0x20) return NULL;
        if (*at != '\\') {
            size_t count = waft_utf8(at, (size_t)(end - at));
            if (count == 0) return NULL;
            at += count;
            continue;
        }
        if (end - at < 2) return NULL;
        if (at[1] != 'u') {
            if (at[1] == 0 || !strchr("\"\\/bfnrt", at[1])) return NULL;
            at += 2;
            continue;
        }
        int32_t first = waft_hex(at + 2, end);
        if (first < 0 || (first >= 0xdc00 && first <= 0xdfff)) return NULL;
        at += 6;
        if (first >= 0xd800 && first <= 0xdbff) {
            if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return NULL;
            int32_t second = waft_hex(at + 2, end);
            if (second < 0xdc00 || second > 0xdfff) return NULL;
            at += 6;
        }
    }
    return at < end ? at + 1 : NULL;
}

static inline const char *waft_scan_digits(const char *at, const char *end) {
    const char *start = at;
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at > start ? at : NULL;
}

static inline const char *waft_scan_number(const char *at, const char *end) {
    if (at < end && *at == '-') at++;
    if (at < end && *at == '0') at++;
    else at = waft_scan_digits(at, end);
    if (at && at < end && *at == '.') at = waft_scan_digits(at + 1, end);
    if (at && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        at = waft_scan_digits(at, end);
    }
    return at;
}

static inline const char *waft_scan_word(const char *at, const char *end, const char *word) {
    size_t length = strlen(word);
    return (size_t)(end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

static inline const char *waft_scan_scalar(const char *at, const char *end) {
    if (at >= end) return NULL;
    switch (*at) {
    case '"': return waft_scan_string(at, end);
    case 't': return waft_scan_word(at, end, "true");
    case 'f': return waft_scan_word(at, end, "false");
    case 'n': return waft_scan_word(at, end, "null");
    default: return waft_scan_number(at, end);
    }
}

/* "name": in an object; what is behind it. */
static inline const char *waft_scan_name(const char *at, const char *end) {
    at = waft_blank(at, end);
    if (at >= end || *at != '"' || !(at = waft_scan_string(at, end))) return NULL;
    at = waft_blank(at, end);
    return at < end && *at == ':' ? at + 1 : NULL;
}

/* What is behind the value at `at`, which may be anything; NULL when it is no JSON, or nested too deep. */
static inline const char *waft_scan(const char *at, const char *end) {
    char open[WAFT_DEPTH_MAX];
    unsigned depth = 0;
    for (;;) {
        at = waft_blank(at, end);
        if (at < end && (*at == '{' || *at == '[')) {
            if (depth == WAFT_DEPTH_MAX) return NULL;
            char opened = *at;
            at = waft_blank(at + 1, end);
            if (at >= end || *at != (opened == '{' ? '}' : ']')) {
                open[depth++] = opened;
                if (opened == '{' && !(at = waft_scan_name(at, end))) return NULL;
                continue;
            }
            at++;
        } else if (!(at = waft_scan_scalar(at, end))) {
            return NULL;
        }
        /* Behind a value: on to the next one, or out. */
        for (;;) {
            if (depth == 0) return at;
            at = waft_blank(at, end);
            if (at >= end) return NULL;
            if (*at == ',') {
                at++;
                if (open[depth - 1] == '{' && !(at = waft_scan_name(at, end))) return NULL;
                break;
            }
            if (*at != (open[depth - 1] == '{' ? '}' : ']')) return NULL;
            at++;
            depth--;
        }
    }
}

/* Checks a text: one JSON value and nothing behind it. `code` is that of errors about it and its values. */
static inline bool waft_parse_as(const char *code, const char *text, size_t length, waft_json *value) {
    static const waft_json none = {NULL, 0, NULL};
    *value = none;
    value->code = code;
    if (!text) return waft_fail(code, NULL, "there is no JSON text");
    const char *end = text + length;
    const char *start = waft_blank(text, end);
    const char *after = waft_scan(start, end);
    if (!after || waft_blank(after, end) != end) {
        return waft_fail(code, NULL, "this is not one JSON value in UTF-8, nested at most %d deep", WAFT_DEPTH_MAX);
    }
    value->text = start;
    value->length = (size_t)(after - start);
    return true;
}

static inline bool waft_parse(const char *text, size_t length, waft_json *value) {
    return waft_parse_as("json.invalid", text, length, value);
}

static inline waft_kind waft_kind_of(waft_json value) {
    if (!value.text || value.length == 0) return WAFT_NONE;
    switch (value.text[0]) {
    case '{': return WAFT_OBJECT;
    case '[': return WAFT_ARRAY;
    case '"': return WAFT_STRING;
    case 't':
    case 'f': return WAFT_BOOL;
    case 'n': return WAFT_NULL;
    default: return WAFT_NUMBER;
    }
}

static inline const char *waft_kind_name(waft_kind kind) {
    static const char *const names[] = {"nothing", "null", "a boolean", "a number", "a string", "an array", "an object"};
    return names[kind];
}

/* waft_walk walk = waft_each(value); while (waft_next(&walk, &name, &item)) ..; `name` is a string, and nothing in an array. */
static inline waft_walk waft_each(waft_json value) {
    waft_kind kind = waft_kind_of(value);
    waft_walk walk = {NULL, NULL, value.code, kind == WAFT_OBJECT};
    if (kind == WAFT_OBJECT || kind == WAFT_ARRAY) {
        walk.at = value.text + 1;
        walk.end = value.text + value.length - 1;
    }
    return walk;
}

static inline bool waft_next(waft_walk *walk, waft_json *name, waft_json *item) {
    if (!walk->at) return false;
    const char *at = waft_blank(walk->at, walk->end);
    if (at < walk->end && *at == ',') at = waft_blank(at + 1, walk->end);
    name->text = item->text = NULL;
    name->length = item->length = 0;
    name->code = item->code = walk->code;
    walk->at = NULL;
    if (at >= walk->end) return false;
    if (walk->object) {
        const char *after = waft_scan_string(at, walk->end);
        if (!after) return false;
        name->text = at;
        name->length = (size_t)(after - at);
        at = waft_scan_name(at, walk->end);
        if (!at) return false;
        at = waft_blank(at, walk->end);
    }
    const char *after = waft_scan(at, walk->end);
    if (!after) return false;
    item->text = at;
    item->length = (size_t)(after - at);
    walk->at = after;
    return true;
}

static inline size_t waft_put_char(char *into, uint32_t c) {
    if (c < 0x80) {
        into[0] = (char)c;
        return 1;
    }
    size_t count = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = count - 1; i > 0; i--) {
        into[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    into[0] = (char)((count == 2 ? 0xc0 : count == 3 ? 0xe0 : 0xf0) | c);
    return count;
}

/* The text of a string, with a NUL behind it; NULL when the value is none. */
static inline const char *waft_text(waft_json value, size_t *length) {
    if (waft_kind_of(value) != WAFT_STRING || value.length < 2) return NULL;
    /* No escape is shorter than what it stands for. */
    char *text = (char *)waft_alloc(value.length);
    size_t used = 0;
    const char *end = value.text + value.length - 1;
    for (const char *at = value.text + 1; at < end;) {
        if (*at != '\\' || end - at < 2) {
            text[used++] = *at++;
            continue;
        }
        static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
        const char *letter = strchr(letters, at[1]);
        if (at[1] != 'u') {
            text[used++] = letter ? meant[letter - letters] : at[1];
            at += 2;
            continue;
        }
        int32_t c = waft_hex(at + 2, end);
        if (c < 0) return NULL;
        at += 6;
        if (c >= 0xd800 && c <= 0xdbff) {
            int32_t second = end - at < 6 ? -1 : waft_hex(at + 2, end);
            if (second < 0xdc00 || second > 0xdfff) return NULL;
            c = 0x10000 + ((c - 0xd800) << 10) + (second - 0xdc00);
            at += 6;
        }
        used += waft_put_char(text + used, (uint32_t)c);
    }
    text[used] = 0;
    if (length) *length = used;
    return text;
}

static inline bool waft_same(waft_json string, const char *text, size_t length) {
    void *mark = waft_mark();
    size_t has = 0;
    const char *decoded = waft_text(string, &has);
    bool same = decoded && has == length && memcmp(decoded, text, length) == 0;
    waft_release(mark);
    return same;
}

/* What an object has under a name, the last of that name; an item of an array by its number from 0. Otherwise nothing. */
static inline waft_json waft_member(waft_json value, const char *name, size_t length) {
    waft_json key, item, found = {NULL, 0, value.code};
    waft_walk walk = waft_each(value);
    size_t at = 0, wanted = 0;
    bool number = length > 0 && length < 10;
    for (size_t i = 0; i < length && number; i++) {
        number = name[i] >= '0' && name[i] <= '9';
        if (number) wanted = wanted * 10 + (size_t)(name[i] - '0');
    }
    while (waft_next(&walk, &key, &item)) {
        if (walk.object ? waft_same(key, name, length) : number && at++ == wanted) found = item;
    }
    return found;
}

/* By names and numbers with dots between them: waft_get(reply, "addresses.0"). For a name with a dot there is waft_member. */
static inline waft_json waft_get(waft_json value, const char *path) {
    while (*path) {
        size_t length = strcspn(path, ".");
        value = waft_member(value, path, length);
        path += length;
        if (*path == '.') path++;
    }
    return value;
}

#define waft_misfit(value, ...) waft_fail((value).code ? (value).code : "json.invalid", NULL, __VA_ARGS__)

static inline waft_json waft_typed(waft_json value, const char *path, waft_kind kind) {
    static const waft_json none = {NULL, 0, NULL};
    waft_json found = waft_get(value, path);
    waft_kind is = waft_kind_of(found);
    if (is == kind) return found;
    if (is != WAFT_NONE && is != WAFT_NULL) {
        waft_misfit(value, "`%.200s` should be %s and is %s", path, waft_kind_name(kind), waft_kind_name(is));
    }
    return none;
}

/* What is at a path: `otherwise` when nothing or null is; that and a failure when it is of another type. */
static inline const char *waft_string(waft_json value, const char *path, const char *otherwise) {
    waft_json found = waft_typed(value, path, WAFT_STRING);
    size_t length = 0;
    const char *text = waft_text(found, &length);
    if (!text) return otherwise;
    if (strlen(text) == length) return text;
    waft_misfit(value, "`%.200s` has a NUL character in it", path);
    return otherwise;
}

static inline bool waft_bool(waft_json value, const char *path, bool otherwise) {
    waft_json found = waft_typed(value, path, WAFT_BOOL);
    return found.text ? found.text[0] == 't' : otherwise;
}

static inline double waft_number(waft_json value, const char *path, double otherwise) {
    waft_json found = waft_typed(value, path, WAFT_NUMBER);
    if (!found.text) return otherwise;
    void *mark = waft_mark();
    double number = strtod(waft_copy(found.text, found.length), NULL);
    waft_release(mark);
    if (isfinite(number)) return number;
    waft_misfit(value, "`%.200s` is too large a number", path);
    return otherwise;
}

static inline int64_t waft_integer(waft_json value, const char *path, int64_t otherwise) {
    waft_json found = waft_typed(value, path, WAFT_NUMBER);
    if (!found.text) return otherwise;
    bool negative = found.text[0] == '-', good = true;
    int64_t number = 0;
    for (size_t i = negative; i < found.length && good; i++) {
        int digit = found.text[i] - '0';
        good = digit >= 0 && digit <= 9 && number >= (INT64_MIN + digit) / 10;
        if (good) number = number * 10 - digit;
    }
    if (good && (negative || number != INT64_MIN)) return negative ? number : -number;
    waft_misfit(value, "`%.200s` should be a whole number of at most 63 bits", path);
    return otherwise;
}

/* Whether an object has no other names than these (the last word is NULL); otherwise a failure that says which. */
__attribute__((sentinel)) static inline bool waft_only(waft_json object, ...) {
    waft_json name, item;
    waft_walk walk = waft_each(object);
    while (walk.object && waft_next(&walk, &name, &item)) {
        bool known = false;
        char names[256] = "";
        va_list words;
        va_start(words, object);
        for (const char *word = va_arg(words, const char *); word; word = va_arg(words, const char *)) {
            known = known || waft_same(name, word, strlen(word));
            size_t used = strlen(names);
            snprintf(names + used, sizeof(names) - used, "%s%s", used ? ", " : "", word);
        }
        va_end(words);
        if (known) continue;
        char excerpt[64];
        waft_fit(excerpt, sizeof(excerpt), name.text + 1, name.length - 2);
        return waft_misfit(object, "there is no `%s` here: known are %s", excerpt, names);
    }
    return true;
}

/* ---- Writing JSON. A name is NULL in an array, and for the outermost value. */

/* Keeps a failure, and that the text is not what was meant. */
static inline bool waft_unwritten(waft_writer *to, const char *code, const char *why) {
    to->failed = true;
    return waft_fail(code, NULL, "%s", why);
}

static inline bool waft_add(waft_writer *to, const char *bytes, size_t length) {
    if (length > WAFT_TEXT_BYTES_MAX - to->length) {
        to->failed = true;
        return waft_fail("json.size", NULL, "a JSON text would be longer than %zu bytes", WAFT_TEXT_BYTES_MAX);
    }
    if (to->length + length >= to->size) {
        size_t size = (to->length + length) * 2 + 256;
        char *text = (char *)waft_alloc(size);
        if (to->length) memcpy(text, to->text, to->length);
        to->text = text;
        to->size = size;
    }
    if (length) memcpy(to->text + to->length, bytes, length);
    to->length += length;
    to->text[to->length] = 0;
    return true;
}

static inline bool waft_add_quoted(waft_writer *to, const char *text, size_t length) {
    bool good = waft_add(to, "\"", 1);
    while (good && length > 0) {
        size_t count = waft_utf8(text, length);
        if (count == 0) return waft_unwritten(to, "json.utf8", "a text for JSON is no UTF-8; waft_put_base64 takes bytes");
        unsigned char c = (unsigned char)*text;
        char escape[8];
        if (c == '"' || c == '\\') {
            snprintf(escape, sizeof(escape), "\\%c", c);
            good = waft_add(to, escape, 2);
        } else if (c < 0x20) {
            snprintf(escape, sizeof(escape), "\\u%04x", c);
            good = waft_add(to, escape, 6);
        } else {
            good = waft_add(to, text, count);
        }
        text += count;
        length -= count;
    }
    return good && waft_add(to, "\"", 1);
}

static inline bool waft_put_name(waft_writer *to, const char *name) {
    bool object = to->depth > 0 && to->closers[to->depth - 1] == '}';
    if (object != (name != NULL) || (to->depth == 0 && to->length > 0)) {
        return waft_unwritten(to, "json.write", "values in objects have names, others none, and there is one outermost value");
    }
    if (to->depth > 0 && !to->empty && !waft_add(to, ",", 1)) return false;
    to->empty = false;
    return !name || (waft_add_quoted(to, name, strlen(name)) && waft_add(to, ":", 1));
}

static inline bool waft_put_raw(waft_writer *to, const char *name, const char *json, size_t length) {
    return waft_put_name(to, name) && waft_add(to, json, length);
}

static inline bool waft_open(waft_writer *to, const char *name, char opener) {
    if (to->depth >= WAFT_DEPTH_MAX) return waft_unwritten(to, "json.write", "objects and arrays are too deep in each other");
    if (!waft_put_raw(to, name, &opener, 1)) return false;
    to->closers[to->depth++] = opener == '{' ? '}' : ']';
    to->empty = true;
    return true;
}

static inline bool waft_put_object(waft_writer *to, const char *name) { return waft_open(to, name, '{'); }
static inline bool waft_put_array(waft_writer *to, const char *name) { return waft_open(to, name, '['); }

/* Ends the innermost object or array. */
static inline bool waft_put_end(waft_writer *to) {
    if (to->depth == 0) return waft_unwritten(to, "json.write", "there is no object or array to end");
    to->empty = false;
    return waft_add(to, &to->closers[--to->depth], 1);
}

static inline bool waft_put_text(waft_writer *to, const char *name, const char *text, size_t length) {
    return waft_put_name(to, name) && waft_add_quoted(to, text, length);
}

static inline bool waft_put_string(waft_writer *to, const char *name, const char *text) {
    return text ? waft_put_text(to, name, text, strlen(text)) : waft_put_raw(to, name, "null", 4);
}

static inline bool waft_put_bool(waft_writer *to, const char *name, bool value) {
    return value ? waft_put_raw(to, name, "true", 4) : waft_put_raw(to, name, "false", 5);
}

static inline bool waft_put_integer(waft_writer *to, const char *name, int64_t value) {
    char text[24];
    int length = snprintf(text, sizeof(text), "%lld", (long long)value);
    return waft_put_raw(to, name, text, (size_t)length);
}

/* What is no number becomes null. */
static inline bool waft_put_number(waft_writer *to, const char *name, double value) {
    char text[32];
    if (!isfinite(value)) return waft_put_raw(to, name, "null", 4);
    int length = snprintf(text, sizeof(text), "%.17g", value);
    return waft_put_raw(to, name, text, (size_t)length);
}

/* A value that was read; nothing becomes null. */
static inline bool waft_put_json(waft_writer *to, const char *name, waft_json value) {
    return value.text ? waft_put_raw(to, name, value.text, value.length) : waft_put_raw(to, name, "null", 4);
}

static inline const char *waft_base64_digits(void) {
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

static inline bool waft_put_base64(waft_writer *to, const char *name, const void *bytes, size_t length) {
    const char *digits = waft_base64_digits();
    const unsigned char *at = (const unsigned char *)bytes;
    bool good = waft_put_raw(to, name, "\"", 1);
    for (size_t i = 0; i < length && good; i += 3) {
        uint32_t three = (uint32_t)at[i] << 16;
        if (i + 1 < length) three |= (uint32_t)at[i + 1] << 8;
        if (i + 2 < length) three |= at[i + 2];
        char four[4] = {digits[three >> 18], digits[three >> 12 & 63], '=', '='};
        if (i + 1 < length) four[2] = digits[three >> 6 & 63];
        if (i + 2 < length) four[3] = digits[three & 63];
        good = waft_add(to, four, 4);
    }
    return good && waft_add(to, "\"", 1);
}

/* The bytes that a base64 text stands for, with a NUL behind them; NULL when it is none. */
static inline const char *waft_base64(const char *text, size_t length, size_t *bytes) {
    if (length % 4 != 0) return NULL;
    char *into = (char *)waft_alloc(length / 4 * 3 + 1);
    size_t used = 0;
    for (size_t i = 0; i < length; i += 4) {
        uint32_t four = 0;
        int padding = 0;
        for (size_t k = 0; k < 4; k++) {
            char c = text[i + k];
            const char *digit = c ? strchr(waft_base64_digits(), c) : NULL;
            if (c == '=' && k >= 2 && i + 4 == length) padding++;
            else if (!digit || padding > 0) return NULL;
            four = four << 6 | (digit ? (uint32_t)(digit - waft_base64_digits()) : 0);
        }
        for (int k = 0; k < 3 - padding; k++) into[used++] = (char)(four >> (16 - 8 * k) & 0xff);
    }
    into[used] = 0;
    *bytes = used;
    return into;
}

/* ---- Calls. */

typedef int32_t (*waft_import)(const char *request, size_t length);

static inline bool waft_ask(waft_import import, const char *name, const char *request, size_t length, waft_json *reply) {
    static const waft_json none = {NULL, 0, NULL};
    if (reply) *reply = none;
    int32_t has = import(request, length);
    if (has < 0) {
        const char *why = has == WAFT_BAD_ADDRESS ? "it lies outside the memory of this task"
                        : has == WAFT_TOO_LONG    ? "it is longer than 1 MiB"
                        : has == WAFT_NOT_UTF8    ? "it is no UTF-8"
                                                  : "this host has a newer reason than this task knows";
        return waft_fail("waft_v1.call", NULL, "the host did not take the request of `%s`: %s (code %d)", name, why, (int)has);
    }
    char *text = (char *)waft_alloc((size_t)has + 1);
    size_t taken = 0;
    while (taken < (size_t)has) {
        int32_t more = waft_v1_take(text + taken, (size_t)has - taken);
        if (more <= 0 || (size_t)more > (size_t)has - taken) {
            return waft_fail("waft_v1.take", NULL, "the host's reply to `%s` came as %zu of %d bytes", name, taken, (int)has);
        }
        taken += (size_t)more;
    }
    text[taken] = 0;
    waft_json answer, error;
    if (!waft_parse_as("waft_v1.reply", text, taken, &answer)) return false;
    error = waft_get(answer, "error");
    if (waft_kind_of(error) == WAFT_OBJECT) {
        const char *code = waft_string(error, "code", "waft_v1.reply");
        const char *message = waft_string(error, "message", "the host refused this and does not say why");
        return waft_fail(code, waft_string(error, "hint", NULL), "%s", message);
    }
    if (reply) *reply = answer;
    return true;
}

/* Asks with a JSON text: waft_call(facts, "{}", &reply). A refusal is a failure with the host's code, message and hint. */
#define waft_call(function, request, reply) waft_ask(waft_v1_##function, #function, request, strlen(request), reply)

/* The same with what was written. */
#define waft_send(function, writer, reply) \
    (waft_written(writer) && waft_ask(waft_v1_##function, #function, (writer)->text, (writer)->length, reply))

static inline bool waft_written(waft_writer *writer) {
    if (!writer->failed && writer->depth == 0 && writer->length > 0) return true;
    return waft_unwritten(writer, "json.write", "the JSON text is not complete");
}

/* The facts of the target. Grant: facts. */
static inline bool waft_facts(waft_json *facts) { return waft_call(facts, "{}", facts); }

/* Bytes that came as text under `name`, or as base64 under `other`. */
static inline const char *waft_bytes(waft_json reply, const char *name, const char *other, size_t *length) {
    size_t encoded = 0;
    const char *text = waft_text(waft_get(reply, name), length);
    if (text) return text;
    text = waft_text(waft_get(reply, other), &encoded);
    *length = 0;
    if (!text) return NULL;
    text = waft_base64(text, encoded, length);
    if (!text) waft_fail("waft_v1.reply", NULL, "the host's reply holds base64 that is none");
    return text;
}

/* Starts a program and waits until it and all that it started are gone. Grant: exec: for these words. That it ended badly is
 * no failure of this call. With `replace` it comes back only when that failed. */
static inline bool waft_exec(const waft_program *program, waft_output *output) {
    waft_writer request = {0};
    waft_json reply;
    memset(output, 0, sizeof(*output));
    output->out = output->err = "";
    waft_put_object(&request, NULL);
    waft_put_array(&request, "argv");
    for (const char *const *word = program->argv; word && *word; word++) waft_put_string(&request, NULL, *word);
    waft_put_end(&request);
    if (program->env) {
        waft_put_object(&request, "env");
        for (const char *const *word = program->env; word[0] && word[1]; word += 2) waft_put_string(&request, word[0], word[1]);
        waft_put_end(&request);
    }
    if (program->input) waft_put_base64(&request, "stdin_base64", program->input, program->input_length);
    if (program->cwd) waft_put_string(&request, "cwd", program->cwd);
    if (program->user) waft_put_string(&request, "user", program->user);
    if (program->out) waft_put_string(&request, "stdout", program->out);
    if (program->err) waft_put_string(&request, "stderr", program->err);
    if (program->timeout_ms) waft_put_integer(&request, "timeout_ms", program->timeout_ms);
    if (program->limit_bytes) waft_put_integer(&request, "limit_bytes", program->limit_bytes);
    if (program->confine) waft_put_bool(&request, "confine", true);
    if (program->replace) waft_put_bool(&request, "replace", true);
    waft_put_end(&request);
    if (!waft_send(exec, &request, &reply)) return false;
    bool failed = waft_failed();
    output->exit_code = (int)waft_integer(reply, "exit_code", -1);
    output->signal = (int)waft_integer(reply, "signal", 0);
    output->timed_out = waft_bool(reply, "timed_out", false);
    output->out_truncated = waft_bool(reply, "stdout_truncated", false);
    output->err_truncated = waft_bool(reply, "stderr_truncated", false);
    output->ms = waft_integer(reply, "ms", 0);
    const char *out = waft_bytes(reply, "stdout", "stdout_base64", &output->out_length);
    const char *err = waft_bytes(reply, "stderr", "stderr_base64", &output->err_length);
    if (out) output->out = out;
    if (err) output->err = err;
    return failed || !waft_failed();
}

/* One operation on a file: names and texts until NULL; a text that is NULL is left out. Grant: fs: for the directory.
 * waft_file("utime", &reply, "path", path, "mtime", "now", NULL). `follow`, `replace` and `exchange` are "true" or "false". */
__attribute__((sentinel)) static inline bool waft_file(const char *op, waft_json *reply, ...) {
    waft_writer request = {0};
    va_list words;
    waft_put_object(&request, NULL);
    waft_put_string(&request, "op", op);
    va_start(words, reply);
    for (const char *name = va_arg(words, const char *); name; name = va_arg(words, const char *)) {
        const char *text = va_arg(words, const char *);
        bool flag = strcmp(name, "follow") == 0 || strcmp(name, "replace") == 0 || strcmp(name, "exchange") == 0;
        if (text && flag) waft_put_bool(&request, name, strcmp(text, "true") == 0);
        else if (text) waft_put_string(&request, name, text);
    }
    va_end(words);
    waft_put_end(&request);
    return waft_send(file, &request, reply);
}

/* What is there under a name: `kind` is null when nothing is. */
static inline bool waft_stat(const char *path, waft_json *stat) { return waft_file("stat", stat, "path", path, NULL); }

static inline bool waft_changed(waft_json reply, bool *changed) {
    if (changed) *changed = waft_bool(reply, "changed", false);
    return true;
}

/* Changes; `changed` may be NULL. A mode is octal text, an owner or group a name or number, or NULL. */
static inline bool waft_chmod(const char *path, const char *mode, bool *changed) {
    waft_json reply;
    return waft_file("chmod", &reply, "path", path, "mode", mode, NULL) && waft_changed(reply, changed);
}

static inline bool waft_chown(const char *path, const char *owner, const char *group, bool *changed) {
    waft_json reply;
    return waft_file("chown", &reply, "path", path, "owner", owner, "group", group, NULL) && waft_changed(reply, changed);
}

static inline bool waft_symlink(const char *path, const char *target, bool *changed) {
    waft_json reply;
    return waft_file("symlink", &reply, "path", path, "target", target, NULL) && waft_changed(reply, changed);
}

static inline bool waft_rename(const char *path, const char *to, bool *changed) {
    waft_json reply;
    return waft_file("rename", &reply, "path", path, "to", to, NULL) && waft_changed(reply, changed);
}

static inline bool waft_link(const char *path, const char *to, bool *changed) {
    waft_json reply;
    return waft_file("link", &reply, "path", path, "to", to, NULL) && waft_changed(reply, changed);
}

/* Seconds since 1970 as text, with up to nine decimals, or "now"; NULL: left as it is. */
static inline bool waft_utime(const char *path, const char *mtime, const char *atime, bool *changed) {
    waft_json reply;
    return waft_file("utime", &reply, "path", path, "mtime", mtime, "atime", atime, NULL) && waft_changed(reply, changed);
}

static inline bool waft_fsync(const char *path) { return waft_file("fsync", NULL, "path", path, NULL); }

/* `total_bytes`, `free_bytes`, `available_bytes`, .. of the file system. */
static inline bool waft_statvfs(const char *path, waft_json *reply) {
    return waft_file("statvfs", reply, "path", path, NULL);
}

/* `names` is an array of strings. */
static inline bool waft_listxattr(const char *path, waft_json *names) {
    waft_json reply;
    if (!waft_file("listxattr", &reply, "path", path, NULL)) return false;
    *names = waft_get(reply, "names");
    return true;
}

static inline bool waft_removexattr(const char *path, const char *name, bool *changed) {
    waft_json reply;
    return waft_file("removexattr", &reply, "path", path, "name", name, NULL) && waft_changed(reply, changed);
}

/* The value of an attribute, with a NUL behind it; NULL when there is none. */
static inline bool waft_getxattr(const char *path, const char *name, const char **value, size_t *length) {
    waft_json reply;
    *value = NULL;
    *length = 0;
    if (!waft_file("getxattr", &reply, "path", path, "name", name, NULL)) return false;
    *value = waft_bytes(reply, "value", "base64", length);
    return true;
}

static inline bool waft_setxattr(const char *path, const char *name, const void *value, size_t length, bool *changed) {
    waft_writer request = {0};
    waft_json reply;
    waft_put_object(&request, NULL);
    waft_put_string(&request, "op", "setxattr");
    waft_put_string(&request, "path", path);
    waft_put_string(&request, "name", name);
    waft_put_base64(&request, "base64", value, length);
    waft_put_end(&request);
    return waft_send(file, &request, &reply) && waft_changed(reply, changed);
}

/* Bytes behind a handle: how many were moved, 0 at the end, -1 when that failed. */
static inline int32_t waft_moved(const char *name, int32_t count, size_t most) {
    if (count >= 0 && (size_t)count <= most) return count;
    if (count >= 0) {
        waft_fail("waft_v1.reply", NULL, "the host moved %d bytes in a `%s` of %zu", (int)count, name, most);
        return -1;
    }
    char *reason = (char *)waft_alloc(WAFT_REASON_BYTES_MAX);
    int32_t length = count == WAFT_FAILED ? waft_v1_take(reason, WAFT_REASON_BYTES_MAX) : 0;
    waft_json said, error;
    error.text = NULL;
    error.length = 0;
    bool has = length > 0 && (size_t)length <= WAFT_REASON_BYTES_MAX;
    if (has && waft_parse_as("waft_v1.reply", reason, (size_t)length, &said)) error = waft_get(said, "error");
    if (waft_kind_of(error) == WAFT_OBJECT) {
        const char *code = waft_string(error, "code", "waft_v1.call");
        waft_fail(code, waft_string(error, "hint", NULL), "%s", waft_string(error, "message", ""));
    } else {
        waft_fail("waft_v1.call", NULL, "the host refused a `%s` with the code %d", name, (int)count);
    }
    return -1;
}

static inline int32_t waft_read(uint32_t handle, void *into, size_t length) {
    if (length > WAFT_MOVE_BYTES_MAX) length = WAFT_MOVE_BYTES_MAX;
    return waft_moved("read", waft_v1_read(handle, into, length), length);
}

static inline int32_t waft_write(uint32_t handle, const void *bytes, size_t length) {
    if (length > WAFT_MOVE_BYTES_MAX) length = WAFT_MOVE_BYTES_MAX;
    return waft_moved("write", waft_v1_write(handle, bytes, length), length);
}

static inline bool waft_write_all(uint32_t handle, const void *bytes, size_t length) {
    const char *at = (const char *)bytes;
    while (length > 0) {
        int32_t count = waft_write(handle, at, length);
        if (count < 0) return false;
        if (count == 0) return waft_fail("waft_v1.call", NULL, "the host took none of %zu bytes", length);
        at += count;
        length -= (size_t)count;
    }
    return true;
}

static inline bool waft_handle(waft_json reply, uint32_t *handle) {
    int64_t number = waft_integer(reply, "handle", -1);
    if (number < 0 || number > (int64_t)UINT32_MAX) return waft_fail("waft_v1.reply", NULL, "the host's reply has no handle");
    *handle = (uint32_t)number;
    return true;
}

/* A TCP connection, for waft_read and waft_write; `timeout_ms` 0 is 10 seconds. Grant: net:HOST:PORT. */
static inline bool waft_net_open(const char *host, uint16_t port, uint32_t timeout_ms, uint32_t *handle) {
    waft_writer request = {0};
    waft_json reply;
    waft_put_object(&request, NULL);
    waft_put_string(&request, "op", "open");
    waft_put_string(&request, "host", host);
    waft_put_integer(&request, "port", port);
    if (timeout_ms) waft_put_integer(&request, "timeout_ms", timeout_ms);
    waft_put_end(&request);
    return waft_send(net, &request, &reply) && waft_handle(reply, handle);
}

/* `addresses` is an array of strings. */
static inline bool waft_net_resolve(const char *host, waft_json *addresses) {
    waft_writer request = {0};
    waft_json reply;
    waft_put_object(&request, NULL);
    waft_put_string(&request, "op", "resolve");
    waft_put_string(&request, "host", host);
    waft_put_end(&request);
    if (!waft_send(net, &request, &reply)) return false;
    *addresses = waft_get(reply, "addresses");
    return true;
}

static inline bool waft_net_handle(const char *op, uint32_t handle) {
    waft_writer request = {0};
    waft_put_object(&request, NULL);
    waft_put_string(&request, "op", op);
    waft_put_integer(&request, "handle", handle);
    waft_put_end(&request);
    return waft_send(net, &request, NULL);
}

/* Nothing more is written: the other side reads the end. */
static inline bool waft_net_shutdown(uint32_t handle) { return waft_net_handle("shutdown", handle); }
static inline bool waft_net_close(uint32_t handle) { return waft_net_handle("close", handle); }

/* Runs another task; params is a JSON text. The reply has status, result, .. . Grant: call:NAME. */
static inline bool waft_task(const char *name, const char *params, waft_json *reply) {
    waft_writer request = {0};
    waft_json checked;
    if (!waft_parse_as("task.request", params, strlen(params), &checked)) return false;
    waft_put_object(&request, NULL);
    waft_put_string(&request, "name", name);
    waft_put_json(&request, "params", checked);
    waft_put_end(&request);
    return waft_send(task, &request, reply);
}

/* A file that was sent with the run, for waft_read: from `offset` on. Grant: blob:HASH, which -p NAME@FILE gives. */
static inline bool waft_blob_open(const char *hash, int64_t offset, uint32_t *handle, int64_t *bytes) {
    waft_writer request = {0};
    waft_json reply;
    waft_put_object(&request, NULL);
    waft_put_string(&request, "hash", hash);
    if (offset) waft_put_integer(&request, "offset", offset);
    waft_put_end(&request);
    if (!waft_send(blob, &request, &reply)) return false;
    if (bytes) *bytes = waft_integer(reply, "bytes", 0);
    return waft_handle(reply, handle);
}

static inline bool waft_blob_close(uint32_t handle) {
    waft_writer request = {0};
    waft_put_object(&request, NULL);
    waft_put_integer(&request, "close", handle);
    waft_put_end(&request);
    return waft_send(blob, &request, NULL);
}

/* The value of a secret, with a NUL behind it. Grant: secret:NAME. */
static inline bool waft_secret(const char *name, const char **value, size_t *length) {
    waft_writer request = {0};
    waft_json reply;
    waft_put_object(&request, NULL);
    waft_put_string(&request, "name", name);
    waft_put_end(&request);
    *value = NULL;
    if (!waft_send(secret, &request, &reply)) return false;
    *value = waft_bytes(reply, "value", "base64", length);
    return *value || waft_fail("waft_v1.reply", NULL, "the host's reply has no value of the secret");
}

/* Lines for the log of the run. stderr is as good; this one is a stream of its own. */
static inline bool waft_log(const char *text) {
    waft_writer request = {0};
    waft_put_object(&request, NULL);
    waft_put_string(&request, "log", text);
    waft_put_end(&request);
    return waft_send(emit, &request, NULL);
}

/* How far the task is; total 0: nobody knows, text may be NULL. Cheap: one in 100 ms is passed on, and the last one. */
static inline bool waft_progress(int64_t done, int64_t total, const char *text) {
    waft_writer request = {0};
    waft_put_object(&request, NULL);
    waft_put_object(&request, "progress");
    waft_put_integer(&request, "done", done);
    if (total) waft_put_integer(&request, "total", total);
    if (text) waft_put_string(&request, "text", text);
    waft_put_end(&request);
    waft_put_end(&request);
    return waft_send(emit, &request, NULL);
}

/* ---- From parameters to a result. */

/* Whether this is a dry run: change nothing, and say what would be changed. What a task writes to files in spite of it is
 * thrown away by the host, and is what --diff shows. */
static inline bool waft_is_check(void) { return getenv("WAFT_CHECK") != NULL; }

/* What a task prints after a failure, and its exit code. */
static inline int waft_failure(const char **answer) {
    waft_writer text = {0};
    waft_put_object(&text, NULL);
    waft_put_bool(&text, "changed", false);
    waft_put_string(&text, "msg", waft_state.error.message);
    waft_put_object(&text, "error");
    waft_put_string(&text, "code", waft_state.error.code);
    waft_put_string(&text, "message", waft_state.error.message);
    waft_put_string(&text, "hint", waft_state.error.hint);
    waft_put_end(&text);
    waft_put_end(&text);
    *answer = text.text;
    return waft_failed_with("params") ? 2 : waft_failed_with("grant") ? 125 : 1;
}

/* What a task prints, and its exit code: the result of `run` with these parameters. An empty text is {}. */
static inline int waft_answer(waft_run run, const char *params, size_t length, const char **answer) {
    waft_json object;
    waft_outcome outcome;
    waft_writer text = {0};
    memset(&outcome, 0, sizeof(outcome));
    if (waft_blank(params, params + length) == params + length) {
        params = "{}";
        length = 2;
    }
    bool good = waft_parse_as("params.invalid", params, length, &object);
    if (good && waft_kind_of(object) != WAFT_OBJECT) {
        good = waft_fail("params.invalid", NULL, "the parameters are no JSON object");
    }
    good = good && waft_put_object(&outcome.fields, NULL) && run(object, &outcome);
    if (good && (outcome.fields.failed || outcome.fields.depth != 1)) {
        waft_fail("json.write", NULL, "the result's fields are not complete");
    }
    if (good && !waft_failed()) {
        waft_put_object(&text, NULL);
        waft_put_bool(&text, "changed", outcome.changed);
        if (outcome.msg) waft_put_string(&text, "msg", outcome.msg);
        /* The fields begin with a brace, which is replaced by the comma. */
        if (outcome.fields.length > 1) {
            waft_add(&text, ",", 1);
            waft_add(&text, outcome.fields.text + 1, outcome.fields.length - 1);
        }
        waft_put_end(&text);
    } else if (!good && !waft_failed()) {
        waft_fail("task.failed", NULL, "the task failed and does not say why");
    }
    *answer = text.text;
    return waft_failed() ? waft_failure(answer) : 0;
}

/* The main function of a task: parameters from stdin, the result to stdout. */
static inline int waft_main(waft_run run) {
    char *params = (char *)waft_alloc(WAFT_PARAMS_BYTES_MAX + 1);
    size_t length = fread(params, 1, WAFT_PARAMS_BYTES_MAX + 1, stdin);
    const char *answer = NULL;
    if (ferror(stdin)) {
        waft_fail("params.read", NULL, "the parameters could not be read from stdin: %s", strerror(errno));
    } else if (length > WAFT_PARAMS_BYTES_MAX) {
        waft_fail("params.size", NULL, "the parameters are larger than %zu bytes", WAFT_PARAMS_BYTES_MAX);
    }
    int code = waft_failed() ? waft_failure(&answer) : waft_answer(run, params, length, &answer);
    if (fputs(answer, stdout) < 0 || fputc('\n', stdout) < 0 || fflush(stdout) != 0) return 1;
    return code;
}

/* ---- A host for tests on this machine: define WAFT_FAKE before the #include, in one file. */

#ifdef WAFT_FAKE

typedef struct waft_expected {
    const char *function, *request, *reply;
} waft_expected;

static waft_expected waft_fake_calls[64];
static size_t waft_fake_count, waft_fake_next;
static const char *waft_fake_reply = "";
static const char *waft_fake_input = "";
static char waft_fake_output[4096];
static size_t waft_fake_output_length;

/* The next call has to be this one, with this request (NULL: any), and gets this reply. A negative number as the reply is
 * what the import returns. */
static inline void waft_fake(const char *function, const char *request, const char *reply) {
    if (waft_fake_count == sizeof(waft_fake_calls) / sizeof(waft_fake_calls[0])) abort();
    waft_fake_calls[waft_fake_count].function = function;
    waft_fake_calls[waft_fake_count].request = request;
    waft_fake_calls[waft_fake_count++].reply = reply;
}

/* Whether all calls were made that were expected; forgets them, failures and memory. */
static inline bool waft_fake_done(void) {
    bool done = waft_fake_next == waft_fake_count;
    waft_fake_next = waft_fake_count = waft_fake_output_length = 0;
    waft_fake_reply = waft_fake_input = "";
    waft_clear();
    waft_release(NULL);
    return done;
}

static inline int32_t waft_fake_call(const char *function, const char *request, size_t length) {
    const waft_expected *expected = &waft_fake_calls[waft_fake_next];
    bool good = waft_fake_next < waft_fake_count && strcmp(expected->function, function) == 0;
    if (good && expected->request) {
        good = strlen(expected->request) == length && memcmp(expected->request, request, length) == 0;
    }
    if (!good) {
        fprintf(stderr, "not expected: %s %.*s\n", function, (int)length, request);
        abort();
    }
    waft_fake_next++;
    waft_fake_reply = expected->reply;
    return expected->reply[0] == '-' ? (int32_t)atoi(expected->reply) : (int32_t)strlen(expected->reply);
}

#define WAFT_FAKED(name) \
    int32_t waft_v1_##name(const char *request, size_t length) { return waft_fake_call(#name, request, length); }
WAFT_FAKED(exec)
WAFT_FAKED(facts)
WAFT_FAKED(file)
WAFT_FAKED(net)
WAFT_FAKED(task)
WAFT_FAKED(blob)
WAFT_FAKED(secret)
WAFT_FAKED(emit)

static inline size_t waft_fake_move(const char **from, char *into, size_t length) {
    size_t count = strlen(*from) < length ? strlen(*from) : length;
    memcpy(into, *from, count);
    *from += count;
    return count;
}

int32_t waft_v1_take(char *buffer, size_t length) { return (int32_t)waft_fake_move(&waft_fake_reply, buffer, length); }

/* Any handle gives waft_fake_input, and keeps what is written in waft_fake_output. */
int32_t waft_v1_read(uint32_t handle, void *buffer, size_t length) {
    (void)handle;
    return (int32_t)waft_fake_move(&waft_fake_input, (char *)buffer, length);
}

int32_t waft_v1_write(uint32_t handle, const void *bytes, size_t length) {
    (void)handle;
    size_t room = sizeof(waft_fake_output) - waft_fake_output_length;
    if (length > room) length = room;
    memcpy(waft_fake_output + waft_fake_output_length, bytes, length);
    waft_fake_output_length += length;
    return (int32_t)length;
}

#endif

#ifdef __cplusplus
}
#endif

#endif
