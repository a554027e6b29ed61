/* Tests of the task on this machine: `make test`. */
#define WAFT_FAKE
#include "{{name}}.c"

#include <assert.h>
#include <unistd.h>

/* Runs the task; what it answers. */
static waft_json answer(int code, const char *params) {
    const char *text = NULL;
    waft_json value;
    int ended = waft_answer(run, params, strlen(params), &text);
    printf("%d %s\n", ended, text);
    waft_clear();
    assert(ended == code);
    assert(waft_parse(text, strlen(text), &value));
    return value;
}

static void keeps_the_greeting(const char *path) {
    char params[1024];
    snprintf(params, sizeof(params), "{\"path\": \"%s\", \"name\": \"you\"}", path);
    waft_fake("file", NULL, "{\"kind\": null}");
    waft_json first = answer(0, params);
    assert(waft_bool(first, "changed", false));
    assert(strcmp(waft_string(first, "line", ""), "Hello, you!") == 0);

    /* Done already: nothing changes. */
    waft_fake("file", NULL, "{\"kind\": \"file\"}");
    assert(!waft_bool(answer(0, params), "changed", true));
    waft_fake("file", NULL, "{\"kind\": \"file\"}");
    assert(strcmp(contents(path), "Hello, you!\n") == 0);
    assert(waft_fake_done());
}

static void says_what_the_host_refused(void) {
    waft_fake("file", "{\"op\":\"stat\",\"path\":\"/tmp/{{name}}.txt\"}",
              "{\"error\": {\"code\": \"grant.missing\", \"message\": \"No.\", \"hint\": \"--allow fs:/tmp:rw\"}}");
    assert(strcmp(waft_string(answer(125, "{}"), "error.hint", ""), "--allow fs:/tmp:rw") == 0);
}

static void refuses_what_it_cannot_use(void) {
    assert(strcmp(waft_string(answer(2, "{\"path\": \"x\"}"), "error.code", ""), "params.path") == 0);
    assert(strcmp(waft_string(answer(2, "{\"paht\": \"/x\"}"), "error.code", ""), "params.invalid") == 0);
    assert(strcmp(waft_string(answer(2, "{\"path\": 7}"), "error.code", ""), "params.invalid") == 0);
}

int main(void) {
    char dir[] = "/tmp/{{name}}-XXXXXX", path[512];
    assert(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/greetings", dir);
    keeps_the_greeting(path);
    says_what_the_host_refused();
    refuses_what_it_cannot_use();
    unlink(path);
    rmdir(dir);
    assert(waft_fake_done());
    puts("all good");
    return 0;
}
