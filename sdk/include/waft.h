/* The host interface waft_v1, for tasks in C. docs/waft-v1.md says what each function takes and answers.
 *
 * Build: clang --target=wasm32-wasip1 -o task.wasm task.c
 */
#ifndef WAFT_H
#define WAFT_H

#include <stddef.h>
#include <stdint.h>

/* An address or length that is not inside the memory; a request longer than 1 MiB; one that is no UTF-8. */
#define WAFT_BAD_ADDRESS (-1)
#define WAFT_TOO_LONG (-2)
#define WAFT_NOT_UTF8 (-3)
/* A read or write that failed: waft_take gives the reason. */
#define WAFT_FAILED (-4)

#ifdef __cplusplus
extern "C" {
#endif

#define WAFT_IMPORT(name) __attribute__((import_module("waft_v1"), import_name(name)))

/* Each takes one JSON object and returns the length of the answer, or one of the numbers above. */
WAFT_IMPORT("exec") int32_t waft_exec(const char *request, size_t length);
WAFT_IMPORT("facts") int32_t waft_facts(const char *request, size_t length);
WAFT_IMPORT("file") int32_t waft_file(const char *request, size_t length);
WAFT_IMPORT("net") int32_t waft_net(const char *request, size_t length);
WAFT_IMPORT("task") int32_t waft_task(const char *request, size_t length);
WAFT_IMPORT("blob") int32_t waft_blob(const char *request, size_t length);
WAFT_IMPORT("secret") int32_t waft_secret(const char *request, size_t length);
WAFT_IMPORT("emit") int32_t waft_emit(const char *request, size_t length);

/* Copies the next bytes of the answer and returns how many; 0 when all was taken. */
WAFT_IMPORT("take") int32_t waft_take(char *buffer, size_t length);

/* Bytes behind a handle of waft_net or waft_blob: how many were moved, at most 32 KiB at once; 0 is the end. */
WAFT_IMPORT("read") int32_t waft_read(uint32_t handle, void *buffer, size_t length);
WAFT_IMPORT("write") int32_t waft_write(uint32_t handle, const void *bytes, size_t length);

#ifdef __cplusplus
}
#endif

#endif
