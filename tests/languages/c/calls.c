/* Every function of waft_v1, once or more; tests/tests/languages/calls.rs says what has to come back. */
#include "waft.h"

static bool programs(waft_writer *fields) {
    static const char *const cat[] = {"/bin/cat", NULL}, *const env[] = {"/usr/bin/env", NULL};
    static const char *const sleeps[] = {"/bin/sleep", "60", NULL}, *const variables[] = {"GREETING", "hi there", NULL};
    waft_program program = {0};
    waft_output output;
    program.argv = cat;
    program.input = "a\xff\0b";
    program.input_length = 4;
    if (!waft_exec(&program, &output)) return false;
    waft_put_object(fields, "exec");
    waft_put_integer(fields, "exit_code", output.exit_code);
    waft_put_array(fields, "bytes");
    for (size_t i = 0; i < output.out_length; i++) waft_put_integer(fields, NULL, (unsigned char)output.out[i]);
    waft_put_end(fields);
    waft_put_end(fields);

    waft_program prints = {0};
    prints.argv = env;
    prints.env = variables;
    if (!waft_exec(&prints, &output)) return false;
    waft_put_bool(fields, "env", strstr(output.out, "GREETING=hi there\n") != NULL);

    waft_program long_one = {0};
    long_one.argv = sleeps;
    long_one.timeout_ms = 50;
    if (!waft_exec(&long_one, &output)) return false;
    return waft_put_bool(fields, "timed_out", output.timed_out);
}

static const char *below(const char *dir, const char *name) {
    char *path = (char *)waft_alloc(strlen(dir) + strlen(name) + 2);
    sprintf(path, "%s/%s", dir, name);
    return path;
}

static bool files(const char *dir, waft_writer *fields) {
    const char *file = below(dir, "file"), *link = below(dir, "link");
    waft_json stat;
    bool first = false, second = true, linked = false, renamed = false;
    if (!waft_stat(file, &stat)) return false;
    waft_put_object(fields, "stat");
    waft_put_json(fields, "kind", waft_get(stat, "kind"));
    waft_put_json(fields, "size", waft_get(stat, "size"));
    waft_put_json(fields, "mode", waft_get(stat, "mode"));
    waft_put_end(fields);
    if (!waft_stat(below(dir, "missing"), &stat)) return false;
    waft_put_json(fields, "missing", waft_get(stat, "kind"));
    if (!waft_chmod(file, "0600", &first) || !waft_chmod(file, "0600", &second)) return false;
    waft_put_array(fields, "chmod");
    waft_put_bool(fields, NULL, first);
    waft_put_bool(fields, NULL, second);
    waft_put_end(fields);
    if (!waft_symlink(link, "file", &linked) || !waft_stat(link, &stat)) return false;
    waft_put_array(fields, "symlink");
    waft_put_bool(fields, NULL, linked);
    waft_put_json(fields, NULL, waft_get(stat, "target"));
    waft_put_end(fields);
    if (!waft_rename(link, below(dir, "new"), &renamed)) return false;
    waft_put_bool(fields, "rename", renamed);
    size_t length = 0;
    const char *value = NULL;
    if (!waft_setxattr(file, "user.waft", "a\xff", 2, NULL)) return false;
    if (!waft_getxattr(file, "user.waft", &value, &length)) return false;
    waft_put_array(fields, "xattr");
    for (size_t i = 0; value && i < length; i++) waft_put_integer(fields, NULL, (unsigned char)value[i]);
    waft_put_end(fields);
    waft_json names, space;
    bool set = false, again = true, removed = false, named = false;
    if (!waft_listxattr(file, &names)) return false;
    waft_put_json(fields, "attributes", names);
    if (!waft_removexattr(file, "user.waft", &removed) || !waft_link(file, below(dir, "other"), &named)) return false;
    if (!waft_utime(file, "1767225600.5", NULL, &set) || !waft_utime(file, "1767225600.5", NULL, &again)) return false;
    if (!waft_stat(file, &stat) || !waft_fsync(file) || !waft_statvfs(dir, &space)) return false;
    waft_put_bool(fields, "removed", removed);
    waft_put_bool(fields, "link", named && waft_integer(stat, "nlink", 0) == 2);
    waft_put_array(fields, "utime");
    waft_put_bool(fields, NULL, set);
    waft_put_bool(fields, NULL, again);
    waft_put_json(fields, NULL, waft_get(stat, "mtime"));
    waft_put_end(fields);
    return waft_put_bool(fields, "space", waft_integer(space, "total_bytes", 0) >= waft_integer(space, "free_bytes", 1));
}

static bool connections(int64_t port, waft_writer *fields) {
    waft_json addresses;
    uint32_t handle = 0;
    char said[64];
    size_t length = 0;
    if (!waft_net_resolve("127.0.0.1", &addresses)) return false;
    waft_put_json(fields, "addresses", addresses);
    if (!waft_net_open("127.0.0.1", (uint16_t)port, 5000, &handle)) return false;
    if (!waft_write_all(handle, "hello over there", 16) || !waft_net_shutdown(handle)) return false;
    for (;;) {
        int32_t count = waft_read(handle, said + length, sizeof(said) - length);
        if (count < 0) return false;
        if (count == 0) break;
        length += (size_t)count;
    }
    waft_put_text(fields, "net", said, length);
    return waft_net_close(handle);
}

static bool blob(const char *hash, waft_writer *fields) {
    static unsigned char buffer[64 << 10];
    uint32_t handle = 0, tail = 0;
    int64_t bytes = 0, sum = 0, rest = 0;
    int32_t count;
    if (!waft_blob_open(hash, 0, &handle, &bytes) || !waft_blob_open(hash, bytes - 5, &tail, NULL)) return false;
    while ((count = waft_read(handle, buffer, sizeof(buffer))) > 0) {
        for (int32_t i = 0; i < count; i++) sum += buffer[i];
    }
    while ((count = waft_read(tail, buffer, sizeof(buffer))) > 0) rest += count;
    waft_put_object(fields, "blob");
    waft_put_integer(fields, "bytes", bytes);
    waft_put_integer(fields, "sum", sum);
    waft_put_integer(fields, "tail", rest);
    waft_put_end(fields);
    if (!waft_blob_close(handle) || !waft_blob_close(tail)) return false;
    /* A read that fails has a reason. */
    if (waft_read(handle, buffer, 1) != -1) return waft_fail("calls.read", NULL, "a closed blob was read");
    waft_put_string(fields, "wrong", waft_problem()->code);
    waft_clear();
    return true;
}

static bool others(waft_writer *fields) {
    static const char *const not_given[] = {"/bin/false", NULL};
    waft_json reply;
    const char *word = NULL;
    size_t length = 0;
    if (!waft_task("facts", "{\"filter\":[\"kernel\"]}", &reply)) return false;
    waft_put_object(fields, "task");
    waft_put_json(fields, "status", waft_get(reply, "status"));
    waft_put_json(fields, "kernel", waft_get(reply, "result.facts.kernel"));
    waft_put_end(fields);

    if (!waft_secret("word", &word, &length)) return false;
    /* Backwards, by characters: the word itself would be taken out of the output. */
    char *backwards = (char *)waft_alloc(length);
    for (size_t i = 0; i < length;) {
        size_t count = waft_utf8(word + i, length - i);
        memcpy(backwards + length - i - count, word + i, count);
        i += count;
    }
    waft_put_text(fields, "secret", backwards, length);

    if (!waft_log("calls: log") || !waft_progress(1, 2, NULL) || !waft_progress(2, 2, "all")) return false;

    waft_program program = {0};
    waft_output output;
    program.argv = not_given;
    if (waft_exec(&program, &output)) return waft_fail("calls.exec", NULL, "a program ran that was not given");
    waft_put_object(fields, "refused");
    waft_put_string(fields, "code", waft_problem()->code);
    waft_put_bool(fields, "hint", waft_problem()->hint != NULL);
    waft_clear();
    return waft_put_end(fields);
}

static bool run(waft_json params, waft_outcome *outcome) {
    waft_writer *fields = &outcome->fields;
    waft_json facts;
    const char *dir = waft_string(params, "dir", NULL), *hash = waft_string(params, "blob.hash", NULL);
    int64_t port = waft_integer(params, "port", 0);
    if (waft_failed() || !dir || !hash) return waft_fail("params.invalid", NULL, "`dir` and `blob` are needed");
    waft_put_bool(fields, "check", waft_is_check());
    if (!waft_facts(&facts)) return false;
    waft_put_json(fields, "facts", waft_get(facts, "kernel"));
    if (!programs(fields) || !files(dir, fields) || !connections(port, fields) || !blob(hash, fields) || !others(fields)) return false;
    outcome->changed = true;
    outcome->msg = "all calls made";
    return true;
}

int main(void) { return waft_main(run); }
