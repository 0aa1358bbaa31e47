#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/fsx.h"
#include "tests/support/tmpdir.h"

#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define MILLION_A_SHA256 "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

/* FIPS 180-2, appendix B: "abc" and a million times "a". */
static void sha256_is_that_of_the_standard(void **state)
{
    CLEANUP_FREE char *million = xmalloc(1000000);
    char hex[DIGEST_HEX_SIZE];

    (void)state;
    digest_bytes("abc", 3, hex);
    assert_string_equal(hex, ABC_SHA256);
    digest_bytes(NULL, 0, hex);
    assert_string_equal(hex, EMPTY_SHA256);
    memset(million, 'a', 1000000);
    digest_bytes(million, 1000000, hex);
    assert_string_equal(hex, MILLION_A_SHA256);
}

static void running_digest_equals_the_whole_and_starts_again(void **state)
{
    struct digest *d = digest_new();
    char hex[DIGEST_HEX_SIZE];

    (void)state;
    digest_add(d, "a", 1);
    digest_add(d, NULL, 0);
    digest_add(d, "bc", 2);
    digest_end(d, hex);
    assert_string_equal(hex, ABC_SHA256);
    digest_end(d, hex);
    assert_string_equal(hex, EMPTY_SHA256);
    digest_add(d, "abc", 3);
    digest_end(d, hex);
    assert_string_equal(hex, ABC_SHA256);
    digest_free(d);
    digest_free(NULL);
}

static void file_digest_equals_that_of_its_bytes(void **state)
{
    struct tmpdir *t = *state;
    CLEANUP_FREE char *million = xmalloc(1000000);
    char hex[DIGEST_HEX_SIZE] = "untouched";
    struct err err = {0};

    assert_int_equal(digest_file(tmpdir_join(t, "none"), hex, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_int_equal(digest_file(t->path, hex, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(hex, "untouched");
    memset(million, 'a', 1000000);
    assert_int_equal(digest_file(tmpdir_write(t, "f", million, 1000000), hex, &err), 0);
    assert_string_equal(hex, MILLION_A_SHA256);
}

static void hex_digests_are_recognised(void **state)
{
    (void)state;
    assert_true(digest_is_hex(ABC_SHA256));
    assert_false(digest_is_hex(NULL));
    assert_false(digest_is_hex(""));
    assert_false(digest_is_hex(ABC_SHA256 "0"));
    assert_false(digest_is_hex(&ABC_SHA256[1]));
    assert_false(digest_is_hex("BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    assert_false(digest_is_hex("ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

/* Stored logs hold such ids, so they never change: values by hashlib of Python 3.11.7. */
static void id_is_the_digest_of_what_caused_it(void **state)
{
    char a[ID_SIZE], b[ID_SIZE];

    (void)state;
    id_from_cause("plans", "cause-1", "requested", a);
    assert_string_equal(a, "8d62d98571ba920ebcbef8663a2f4bbb");
    id_from_cause("", "", "", a);
    assert_string_equal(a, "9d908ecfb6b256def8b49a7c504e6c88");
    id_from_cause("", "", NULL, b);
    assert_string_equal(a, b);
}

static void id_knows_where_each_part_ends(void **state)
{
    char a[ID_SIZE], b[ID_SIZE];

    (void)state;
    id_from_cause("ab", "c", "d", a);
    id_from_cause("a", "bc", "d", b);
    assert_string_not_equal(a, b);
    id_from_cause("ab", "cd", "", b);
    assert_string_not_equal(a, b);
}

static void random_ids_are_valid_and_differ(void **state)
{
    char a[ID_SIZE], b[ID_SIZE];

    (void)state;
    id_random(a);
    id_random(b);
    assert_int_equal(strlen(a), ID_SIZE - 1);
    assert_true(id_is_valid(a));
    assert_string_not_equal(a, b);
}

static void ids_of_others_are_checked(void **state)
{
    static const struct {
        const char *id;
        bool good;
    } rows[] = {
        {"a", true},
        {"AZaz09._:/-", true},
        {"urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", true},
        {"", false},
        {NULL, false},
        {"a b", false},
        {"a\n", false},
        {"a\"", false},
        {"\xC3\xBC", false},
    };
    char text[131];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (id_is_valid(rows[i].id) != rows[i].good)
            fail_msg("row %zu", i);
    }
    memset(text, 'x', sizeof(text));
    text[128] = '\0';
    assert_true(id_is_valid(text));
    text[128] = 'x';
    text[129] = '\0';
    assert_false(id_is_valid(text));
}

static void trace_of_our_ids_is_the_id(void **state)
{
    char trace[33], span[17];

    (void)state;
    id_to_trace("0123456789abcdef0123456789abcdef", trace);
    id_to_span("0123456789abcdef0123456789abcdef", span);
    assert_string_equal(trace, "0123456789abcdef0123456789abcdef");
    assert_string_equal(span, "0123456789abcdef");
}

static void trace_of_other_ids_is_their_digest_and_never_zero(void **state)
{
    static const char *const ids[] = {
        "order-17",
        "00000000000000000000000000000000",
        "00000000000000000000000000000001",
        "",
    };
    char trace[33], span[17];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        id_to_trace(ids[i], trace);
        id_to_span(ids[i], span);
        assert_int_equal(strlen(trace), 32);
        assert_int_equal(strlen(span), 16);
        assert_true(strspn(trace, "0123456789abcdef") == 32 && strspn(trace, "0") < 32);
        assert_true(strspn(span, "0123456789abcdef") == 16 && strspn(span, "0") < 16);
    }
    id_to_trace("order-17", trace);
    assert_string_equal(trace, "72a90ea3da8b5dd01bde2f27314e02e2");
}

/* RFC 8032, section 7.1, tests 1 and 2. */
static void signatures_are_those_of_the_standard(void **state)
{
    static const struct {
        const char *secret, *public, *message, *signature;
        size_t n;
    } rows[] = {
        {
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39"
            "701c"
            "f9b46bd25bf5f0595bbe24655141438e7a100b",
            0,
        },
        {
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "\x72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f36"
            "13d0"
            "f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            1,
        },
    };
    struct tmpdir *t = *state;
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice data = {.p = rows[i].message, .n = rows[i].n};
        const char *path = tmpdir_join(t, i == 0 ? "key-0" : "key-1");
        char public[65], signature[129];
        struct sign_key *k = NULL;

        assert_int_equal(fsx_create_file(path, 0600, rows[i].secret, 64, &err), 0);
        if (sign_key_load(path, &k, &err))
            fail_msg("%s", err.msg);
        sign_key_public(k, public);
        assert_string_equal(public, rows[i].public);
        assert_int_equal(sign_bytes(k, data, signature, &err), 0);
        assert_string_equal(signature, rows[i].signature);
        assert_int_equal(sign_verify(public, data, signature, &err), 0);
        sign_key_free(k);
    }
}

static void missing_key_is_made_once(void **state)
{
    struct tmpdir *t = *state;
    const char *path = tmpdir_join(t, "key");
    struct sign_key *a = NULL, *b = NULL;
    char public_a[65], public_b[65];
    struct err err = {0};
    struct stat st;

    assert_int_equal(sign_key_load(path, &a, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 65);
    assert_int_equal(sign_key_load(path, &b, &err), 0);
    sign_key_public(a, public_a);
    sign_key_public(b, public_b);
    assert_string_equal(public_a, public_b);
    assert_int_equal(tmpdir_count(t, ""), 1);
    sign_key_free(a);
    sign_key_free(b);
    sign_key_free(NULL);
}

/* Agents that start together on a fresh machine end up with one key. */
static void processes_that_start_together_get_one_key(void **state)
{
    struct tmpdir *t = *state;
    const char *path = tmpdir_join(t, "key");
    enum { PROCESSES = 4 };
    pid_t pids[PROCESSES];
    char before[65] = "";
    struct err err = {0};

    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            CLEANUP_FREE char *out = xasprintf("%s/public-%d", t->path, i);
            struct sign_key *k = NULL;
            char public[65];

            if (sign_key_load(path, &k, &err))
                _exit(1);
            sign_key_public(k, public);
            _exit(fsx_write_file(out, public, 64, &err) ? 2 : 0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        CLEANUP_FREE char *out = xasprintf("%s/public-%d", t->path, i);
        CLEANUP(buf_fini) struct buf public = {0};
        int status = 0;

        assert_true(waitpid(pids[i], &status, 0) == pids[i]);
        assert_int_equal(status, 0);
        assert_int_equal(fsx_read_file(out, 100, &public, &err), 0);
        if (i > 0)
            assert_string_equal(public.data, before);
        (void)str_copy(before, sizeof(before), public.data);
    }
}

static void key_files_that_are_none_are_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "not a key",
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f6",
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f600",
        "xd61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    };
    struct tmpdir *t = *state;
    struct sign_key *k = NULL;
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *path = tmpdir_write_str(t, "key", rows[i]);

        assert_int_equal(sign_key_load(path, &k, &err), -1);
        assert_int_equal(err.code, ERR_INVAL);
        assert_int_equal(err.next, NEXT_FATAL);
        assert_non_null(strstr(err.msg, "/key"));
        assert_null(k);
    }
    assert_int_equal(sign_key_load(tmpdir_join(t, "no/folder"), &k, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
}

static void key_that_everybody_can_read_is_refused(void **state)
{
    struct tmpdir *t = *state;
    const char *path = tmpdir_join(t, "key");
    struct sign_key *k = NULL;
    struct err err = {0};

    assert_int_equal(sign_key_load(path, &k, &err), 0);
    sign_key_free(k);
    k = NULL;
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(sign_key_load(path, &k, &err), -1);
    assert_null(k);
    assert_non_null(strstr(err.msg, "chmod 600"));
}

static void any_change_breaks_a_signature(void **state)
{
    struct tmpdir *t = *state;
    struct sign_key *k = NULL, *other = NULL;
    char public[65], other_public[65], signature[129], wrong[129];
    struct slice data = slice_str("the manifest");
    struct err err = {0};

    assert_int_equal(sign_key_load(tmpdir_join(t, "a"), &k, &err), 0);
    assert_int_equal(sign_key_load(tmpdir_join(t, "b"), &other, &err), 0);
    sign_key_public(k, public);
    sign_key_public(other, other_public);
    assert_int_equal(sign_bytes(k, data, signature, &err), 0);
    assert_int_equal(sign_verify(public, data, signature, &err), 0);
    assert_int_equal(sign_verify(other_public, data, signature, &err), -1);
    assert_int_equal(err.code, ERR_INVAL);
    assert_int_equal(err.next, NEXT_REJECT);
    assert_int_equal(sign_verify(public, slice_str("the manifesT"), signature, &err), -1);
    for (size_t i = 0; i < 128; i += 9) {
        memcpy(wrong, signature, sizeof(wrong));
        wrong[i] = wrong[i] == '0' ? '1' : '0';
        assert_int_equal(sign_verify(public, data, wrong, &err), -1);
    }
    assert_int_equal(sign_verify(public, data, "", &err), -1);
    assert_int_equal(sign_verify(public, data, signature + 2, &err), -1);
    assert_int_equal(sign_verify("", data, signature, &err), -1);
    assert_int_equal(sign_verify(public + 1, data, signature, &err), -1);
    sign_key_free(k);
    sign_key_free(other);
}

#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_is_that_of_the_standard),
        cmocka_unit_test(running_digest_equals_the_whole_and_starts_again),
        IN_TMPDIR(file_digest_equals_that_of_its_bytes),
        cmocka_unit_test(hex_digests_are_recognised),
        cmocka_unit_test(id_is_the_digest_of_what_caused_it),
        cmocka_unit_test(id_knows_where_each_part_ends),
        cmocka_unit_test(random_ids_are_valid_and_differ),
        cmocka_unit_test(ids_of_others_are_checked),
        cmocka_unit_test(trace_of_our_ids_is_the_id),
        cmocka_unit_test(trace_of_other_ids_is_their_digest_and_never_zero),
        IN_TMPDIR(signatures_are_those_of_the_standard),
        IN_TMPDIR(missing_key_is_made_once),
        IN_TMPDIR(processes_that_start_together_get_one_key),
        IN_TMPDIR(key_files_that_are_none_are_refused),
        IN_TMPDIR(key_that_everybody_can_read_is_refused),
        IN_TMPDIR(any_change_breaks_a_signature),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
