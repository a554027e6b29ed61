/* waft.h by itself, on this machine and under sanitizers: what it reads and writes, and what is no JSON. */
#define WAFT_FAKE
#include "waft.h"

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            exit(1); \
        } \
    } while (0)

/* In memory of exactly its size, so that reading further is found. */
static bool parses(const char *text, size_t length) {
    char *exact = (char *)malloc(length ? length : 1);
    waft_json value;
    if (length) memcpy(exact, text, length);
    bool good = waft_parse(exact, length, &value);
    CHECK(good == !waft_failed());
    if (good) {
        /* Whatever is in it can be asked for. */
        waft_json name, item;
        waft_walk walk = waft_each(value);
        while (waft_next(&walk, &name, &item)) {
            CHECK(waft_kind_of(item) != WAFT_NONE);
            waft_text(item, NULL);
        }
        waft_get(value, "a.b.0.c");
        waft_string(value, "a", NULL);
        waft_number(value, "a", 0);
        waft_integer(value, "a", 0);
        waft_bool(value, "a", false);
        waft_only(value, "a", "b", NULL);
    }
    waft_clear();
    waft_release(NULL);
    free(exact);
    return good;
}

static bool text_parses(const char *text) { return parses(text, strlen(text)); }

static void texts_that_are_json_and_texts_that_are_not(void) {
    static const char *const good[] = {
        "{}", "[]", "null", "true", " false ", "0", "-0", "12.5e-3", "1E+2", "\"\"", "\"\\u00e4\\\"\\/\"", "\"\\ud83d\\ude00\"",
        "{\"a\":{\"b\":[{\"c\":1}]}}", "[1,[2,[3]],{}]", "\t{\"a\" : 1 ,\r\n\"a\":2}", "\"\xf0\x9f\x98\x80\"", "\"\\u0000\"",
    };
    static const char *const bad[] = {
        "", " ", "{", "}", "[", "]", "{]", "[}", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{a:1}",
        "{\"a\" 1}", "{1:2}", "{} {}", "{}x", "nul", "nulll", "True", "01", "-", "1.", ".5", "1e", "1e+", "+1", "0x1", "NaN", "\"", "\"a",
        "\"\\", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\n\"", "\"\x01\"",
        "\"\x80\"", "\"\xc0\xaf\"", "\"\xe0\x80\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xf0\x9f\x98\"",
        "\xef\xbb\xbf{}", "'a'", "// a\n1", "{\"a\":1}\0",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!text_parses(good[i])) fprintf(stderr, "is JSON: %s\n", good[i]), exit(1);
        /* No beginning of an object, array or string is one. */
        for (size_t length = 0; strchr("{[\"", good[i][0]) && length < strlen(good[i]); length++) CHECK(!parses(good[i], length));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (strcmp(bad[i], "{\"a\":1}") != 0 && text_parses(bad[i])) fprintf(stderr, "is no JSON: %s\n", bad[i]), exit(1);
    }
    CHECK(!parses("{\"a\":1}\0", 8));
}

static void nesting_is_bounded(void) {
    char deep[2 * WAFT_DEPTH_MAX + 2];
    memset(deep, '[', WAFT_DEPTH_MAX + 1);
    memset(deep + WAFT_DEPTH_MAX + 1, ']', WAFT_DEPTH_MAX + 1);
    CHECK(!parses(deep, sizeof(deep)));
    CHECK(parses(deep + 1, sizeof(deep) - 2));
    char *all = (char *)malloc(1 << 20);
    memset(all, '[', 1 << 20);
    CHECK(!parses(all, 1 << 20));
    for (size_t i = 0; i + 5 <= 1 << 20; i += 5) memcpy(all + i, "{\"a\":", 5);
    CHECK(!parses(all, 1 << 20));
    free(all);
}

/* Texts made from good ones by changing, removing and repeating bytes. The numbers are the same each time. */
static void damaged_texts(void) {
    static const char base[] = "{\"a\":{\"b\":[{\"c\":\"x\\u00e4\\ud83d\\ude00\"},-1.5e7,true,null,\"\xc3\xa4\"]},"
                               "\"a\":\"\\\\\",\"b\":123456789012345678901}";
    uint64_t state = 88172645463325252u;
    size_t good = 0;
    for (int round = 0; round < 60000; round++) {
        char text[sizeof(base) * 2];
        size_t length = sizeof(base) - 1;
        memcpy(text, base, length);
        for (int change = 0; change <= round % 3; change++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            size_t at = state % length;
            static const char often[] = "{}[]\",:\\u0e-ntf \x80\xf0";
            if (state >> 60 < 4) {
                memmove(text + at, text + at + 1, length - at - 1), length--;
            } else if (state >> 60 < 8) {
                size_t more = (state >> 20) % 8 < length - at ? (state >> 20) % 8 : 0;
                if (length + more < sizeof(text)) memmove(text + at + more, text + at, length - at), length += more;
            } else {
                text[at] = state >> 60 < 12 ? often[(state >> 30) % (sizeof(often) - 1)] : (char)(state >> 40);
            }
        }
        good += parses(text, length);
    }
    CHECK(good > 100 && good < 60000);
}

static void values_are_found_by_path(void) {
    static const char text[] = "{\"n\":[10,{\"x\":\"a\\nb\\u00e4\\ud83d\\ude00\"}],\"a.b\":1,\"i\":9223372036854775807,\"j\":-9223372036854775808,"
                               "\"k\":9223372036854775808,\"f\":1.5,\"h\":1e999,\"z\":\"a\\u0000b\",\"no\":null,\"t\":true,\"d\":1,\"d\":2}";
    waft_json value, name, item;
    CHECK(waft_parse(text, strlen(text), &value));
    CHECK(strcmp(waft_string(value, "n.1.x", ""), "a\nb\xc3\xa4\xf0\x9f\x98\x80") == 0);
    CHECK(waft_integer(value, "n.0", 0) == 10 && waft_integer(value, "n.2", 7) == 7 && waft_integer(value, "n.x", 7) == 7);
    CHECK(waft_integer(waft_member(value, "a.b", 3), "", 0) == 1 && waft_integer(value, "a.b", 7) == 7);
    CHECK(waft_integer(value, "i", 0) == INT64_MAX && waft_integer(value, "j", 0) == INT64_MIN);
    CHECK(waft_number(value, "f", 0) == 1.5 && waft_bool(value, "t", false) && waft_integer(value, "d", 0) == 2);
    CHECK(!waft_string(value, "no", NULL) && !waft_string(value, "missing", NULL) && !waft_failed());
    static const char *const numbers[] = {"k", "f"};
    for (size_t i = 0; i < 2; i++) {
        CHECK(waft_integer(value, numbers[i], 5) == 5 && waft_failed_with("json.invalid"));
        waft_clear();
    }
    CHECK(waft_number(value, "h", 5) == 5 && waft_failed());
    waft_clear();
    CHECK(!waft_string(value, "z", NULL) && waft_failed_with("json"));
    waft_clear();
    CHECK(waft_integer(value, "t", 5) == 5 && strstr(waft_problem()->message, "`t` should be a number and is a boolean"));
    waft_clear();
    CHECK(!waft_only(value, "n", "i", NULL) && strstr(waft_problem()->message, "`a.b`"));
    waft_clear();
    size_t count = 0;
    for (waft_walk walk = waft_each(waft_get(value, "n")); waft_next(&walk, &name, &item);) count += waft_kind_of(name) == WAFT_NONE;
    CHECK(count == 2);
    CHECK(waft_fake_done());
}

static void what_is_written_can_be_read(void) {
    waft_writer text = {0};
    waft_json value;
    char all[256];
    for (int i = 1; i < 128; i++) all[i - 1] = (char)i;
    all[127] = 0;
    waft_put_object(&text, NULL);
    waft_put_string(&text, "all \"\\", all);
    waft_put_array(&text, "list");
    waft_put_integer(&text, NULL, INT64_MIN);
    waft_put_number(&text, NULL, 0.1);
    waft_put_number(&text, NULL, HUGE_VAL);
    waft_put_string(&text, NULL, NULL);
    waft_put_object(&text, NULL);
    waft_put_end(&text);
    waft_put_end(&text);
    waft_put_base64(&text, "bytes", "\xff\x00\xfe\x01", 4);
    waft_put_end(&text);
    CHECK(waft_parse(text.text, text.length, &value));
    size_t length = 0;
    const char *back = waft_text(waft_member(value, "all \"\\", 6), &length);
    CHECK(length == 127 && memcmp(back, all, 127) == 0);
    CHECK(waft_integer(value, "list.0", 0) == INT64_MIN && waft_number(value, "list.1", 0) == 0.1);
    CHECK(waft_kind_of(waft_get(value, "list.2")) == WAFT_NULL && waft_kind_of(waft_get(value, "list.4")) == WAFT_OBJECT);
    CHECK(memcmp(waft_bytes(value, "none", "bytes", &length), "\xff\x00\xfe\x01", 4) == 0 && length == 4);
    static const char *const no_base64[] = {"A", "AA=A", "=AAA", "A===", "AA==AA==", "AA A", "\x80===", "AAA"};
    for (size_t i = 0; i < sizeof(no_base64) / sizeof(no_base64[0]); i++) CHECK(!waft_base64(no_base64[i], strlen(no_base64[i]), &length));
    CHECK(!waft_failed());

    /* A value without its name, a second outermost one, one end too many, bytes for text: nothing of that is sent. */
    waft_writer nameless = {0}, second = {0}, ends = {0}, bytes = {0};
    waft_put_object(&nameless, NULL);
    CHECK(!waft_put_bool(&nameless, NULL, true) && waft_failed_with("json.write"));
    waft_put_bool(&second, NULL, true);
    CHECK(!waft_put_bool(&second, NULL, true) && !waft_put_end(&ends) && !waft_put_string(&bytes, NULL, "\xff"));
    CHECK(!waft_send(emit, &nameless, NULL) && !waft_send(emit, &second, NULL) && !waft_send(emit, &bytes, NULL));
    waft_writer deep = {0};
    for (int i = 0; i < WAFT_DEPTH_MAX; i++) CHECK(waft_put_array(&deep, NULL));
    CHECK(!waft_put_array(&deep, NULL));
    CHECK(waft_fake_done());
}

static void requests_and_replies(void) {
    static const char *const argv[] = {"/bin/id", "-u", NULL}, *const env[] = {"A", "b\"", NULL};
    waft_program program = {0};
    waft_output output;
    waft_json reply;
    uint32_t handle = 0;
    program.argv = argv;
    program.env = env;
    program.input = "\xff";
    program.input_length = 1;
    program.timeout_ms = 50;
    waft_fake("exec", "{\"argv\":[\"/bin/id\",\"-u\"],\"env\":{\"A\":\"b\\\"\"},\"stdin_base64\":\"/w==\",\"timeout_ms\":50}",
              "{\"exit_code\":null,\"signal\":9,\"timed_out\":true,\"ms\":5,\"stdout\":\"a\",\"stdout_truncated\":true,\"stderr_base64\":\"/w==\"}");
    CHECK(waft_exec(&program, &output));
    CHECK(output.exit_code == -1 && output.signal == 9 && output.timed_out && output.out_truncated && strcmp(output.out, "a") == 0);
    CHECK(output.err_length == 1 && output.err[0] == '\xff');

    waft_fake("facts", "{}", "{\"error\":{\"code\":\"grant.missing\",\"message\":\"No %s.\",\"hint\":\"--allow facts\"}}");
    CHECK(!waft_facts(&reply) && waft_failed_with("grant") && strcmp(waft_problem()->message, "No %s.") == 0);
    CHECK(strcmp(waft_problem()->hint, "--allow facts") == 0);
    /* The first failure is kept; the call is made nevertheless. */
    waft_fake("blob", "{\"close\":7}", "{}");
    CHECK(waft_blob_close(7) && waft_failed_with("grant.missing"));
    waft_clear();

    waft_fake("file", "{\"op\":\"chown\",\"path\":\"/x\",\"group\":\"0\"}", "{\"changed\":true}");
    bool changed = false;
    CHECK(waft_chown("/x", NULL, "0", &changed) && changed);
    waft_fake("file", "{\"op\":\"stat\",\"path\":\"/x\",\"follow\":true}", "{\"kind\":null}");
    CHECK(waft_file("stat", &reply, "path", "/x", "follow", "true", NULL));
    waft_fake("net", "{\"op\":\"open\",\"host\":\"db\",\"port\":5432}", "{\"handle\":4294967295,\"address\":\"10.0.0.5:5432\"}");
    CHECK(waft_net_open("db", 5432, 0, &handle) && handle == 4294967295u);
    waft_fake("net", NULL, "{\"address\":\"10.0.0.5:5432\"}");
    CHECK(!waft_net_open("db", 5432, 0, &handle) && waft_failed_with("waft_v1.reply"));
    waft_clear();
    static const char *const replies[] = {"-1", "-3", "-77", "{\"a\":", "\xff", ""};
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        waft_fake("task", "{\"name\":\"t\",\"params\":{\"a\":[1]}}", replies[i]);
        CHECK(!waft_task("t", " {\"a\":[1]} ", &reply) && waft_failed_with("waft_v1"));
        waft_clear();
    }
    CHECK(!waft_task("t", "{", &reply) && waft_failed_with("task.request"));
    waft_clear();

    char into[4];
    waft_fake_input = "abcdef";
    CHECK(waft_read(1, into, 4) == 4 && waft_read(1, into, 4) == 2 && waft_read(1, into, 4) == 0 && into[0] == 'e');
    CHECK(waft_write_all(1, "xyz", 3) && waft_fake_output_length == 3);
    waft_fake_reply = "{\"error\":{\"code\":\"net.closed\",\"message\":\"Gone.\"}}";
    CHECK(waft_moved("read", WAFT_FAILED, 4) == -1 && waft_failed_with("net.closed"));
    waft_clear();
    CHECK(waft_moved("read", 5, 4) == -1 && waft_failed_with("waft_v1.reply"));
    CHECK(waft_fake_done());
}

static bool fails(waft_json params, waft_outcome *outcome) {
    (void)outcome;
    return waft_fail(waft_string(params, "code", "x"), waft_string(params, "hint", NULL), "bad \xff \"%s\"", "a\nb");
}

static bool leaves_open(waft_json params, waft_outcome *outcome) {
    (void)params;
    return waft_put_array(&outcome->fields, "list");
}

static bool says_nothing(waft_json params, waft_outcome *outcome) {
    (void)params;
    (void)outcome;
    return false;
}

static bool no_text(waft_json params, waft_outcome *outcome) {
    (void)params;
    outcome->msg = "\xff";
    return true;
}

static void answers_and_exit_codes(void) {
    static const struct {
        waft_run run;
        const char *params, *answer;
        int code;
    } cases[] = {
        {fails, "{\"code\":\"grant.missing\",\"hint\":\"do\"}",
         "{\"changed\":false,\"msg\":\"bad ? \\\"a\\u000ab\\\"\","
         "\"error\":{\"code\":\"grant.missing\",\"message\":\"bad ? \\\"a\\u000ab\\\"\",\"hint\":\"do\"}}", 125},
        {fails, "{\"code\":\"params.x\"}", NULL, 2},
        {fails, "{\"code\":\"paramsx\"}", NULL, 1},
        {fails, "[]", NULL, 2},
        {fails, "{", NULL, 2},
        {fails, " \n", NULL, 1},
        {leaves_open, "", NULL, 1},
        {says_nothing, "", NULL, 1},
        {no_text, "", NULL, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *answer = NULL;
        waft_json value;
        CHECK(waft_answer(cases[i].run, cases[i].params, strlen(cases[i].params), &answer) == cases[i].code);
        CHECK(!cases[i].answer || strcmp(answer, cases[i].answer) == 0);
        waft_clear();
        CHECK(waft_parse(answer, strlen(answer), &value) && *waft_string(value, "error.message", "") && !waft_bool(value, "changed", true));
        CHECK(waft_fake_done());
    }
}

/* In a file of its own. */
bool other(void);

static bool echoes(waft_json params, waft_outcome *outcome) {
    return waft_only(params, "path", NULL) && waft_put_json(&outcome->fields, "path", waft_get(params, "path"));
}

static void long_failures(void) {
    char *text = (char *)malloc(200000);
    memset(text, 'a', 199999);
    text[199999] = 0;
    waft_fail("x.y", text, "%s", text);
    CHECK(strlen(waft_problem()->message) == WAFT_ERROR_BYTES_MAX && strcmp(waft_problem()->hint, text) == 0);
    free(text);
    waft_clear();
}

int main(int count, char **words) {
    if (count > 1 && strcmp(words[1], "task") == 0) return waft_main(echoes);
    long_failures();
    CHECK(!other() && waft_failed_with("other.code"));
    waft_clear();
    texts_that_are_json_and_texts_that_are_not();
    nesting_is_bounded();
    damaged_texts();
    values_are_found_by_path();
    what_is_written_can_be_read();
    requests_and_replies();
    answers_and_exit_codes();
    puts("header: all good");
    return 0;
}
