/* relearn doctor: what is wrong with an installation, and the command that mends it.  It looks at
 * everything that it can reach, whatever else is wrong, and changes nothing but a file of its own
 * in the store, which is gone again. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agents/relearn/doctor.h"
#include "common/artifact.h"
#include "common/bus.h"
#include "common/clk.h"
#include "common/codec.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "common/store.h"

static const struct conf_option OPTIONS[] = {SITE_OPTIONS, {0}};

enum {
    NOFILE_MIN = 1024, /* a client of a cluster has a descriptor for each broker, serve for each
                          request */
    LAG_MAX = 1000,    /* work that an agent has not answered yet */
    TOPICS_WAIT_MS = 10000,
};
static const uint64_t FREE_BAD_BYTES = (uint64_t)64 << 20, /* a model and a snapshot */
    FREE_LOW_BYTES = (uint64_t)1 << 30, MEMORY_LOW_BYTES = (uint64_t)256 << 20;

void doctor_say(struct doctor *d, enum doctor_level level, const char *check, const char *mend,
                const char *fmt, ...)
{
    static const char *const WORDS[] = {"ok", "warn", "BAD"};
    char what[1200]; /* two topics of the longest names, and what is said of them */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    d->counts[level]++;
    struct json *j = json_add(d->findings, json_object());
    json_set_str(j, "check", check);
    json_set_str(j, "level", level == DOCTOR_BAD ? "bad" : WORDS[level]);
    json_set_str(j, "what", what);
    json_set_str(j, "mend", level == DOCTOR_OK ? NULL : mend);
    if (d->is_json)
        return;
    printf("%-5s %-10s %s\n", WORDS[level], check, what);
    if (level != DOCTOR_OK && mend)
        printf("%-16s mend: %s\n", "", mend);
}

void doctor_found(void *doctor, enum doctor_level level, const char *check, const char *mend,
                  const char *what)
{
    doctor_say(doctor, level, check, mend, "%s", what);
}

/* ---- store and disk ---- */

static void look_at_room(struct doctor *d, const char *check, const char *path)
{
    struct statvfs v;
    if (statvfs(path, &v)) {
        doctor_say(d, DOCTOR_BAD, check, "check the path and its permissions", "%s: %s", path,
                   strerror(errno));
        return;
    }
    uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    doctor_say(d,
               free_bytes < FREE_BAD_BYTES   ? DOCTOR_BAD
               : free_bytes < FREE_LOW_BYTES ? DOCTOR_WARN
                                             : DOCTOR_OK,
               check, "make room: relearn gc --dry-run, then relearn gc",
               "%s has %" PRIu64 " MiB free, %" PRIu64 " file names", path, free_bytes >> 20,
               (uint64_t)v.f_favail);
}

/* A file written, synced, renamed and looked at, as every artefact is. */
static void try_store(struct doctor *d, const struct artifacts *a)
{
    static const char MEND[] = "give the agents' user the right to write there, or make room";
    struct err err = {0};
    struct stat st;
    CLEANUP_FREE char *path = artifacts_tmp(a, "doctor", &err);
    if (!path || fsx_write_file(path, "relearn", 7, &err) || stat(path, &st)) {
        doctor_say(d, DOCTOR_BAD, "store", MEND, "%s cannot be written: %s", a->root,
                   err.code ? err.msg : strerror(errno));
        return;
    }
    int64_t ahead_ms =
        (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 - clk_unix_ms(&clk_system);
    (void)unlink(path);
    doctor_say(d, DOCTOR_OK, "store", NULL, "%s can be written", a->root);
    bool is_off = llabs(ahead_ms) > CLOCK_MAX_MS;
    doctor_say(d, is_off ? DOCTOR_WARN : DOCTOR_OK, "clocks",
               "set the clock of the machine that holds the store: timedatectl set-ntp true",
               "the store's clock is %" PRId64 " ms from this one", ahead_ms);
}

static void look_at_store(struct doctor *d, const char *url)
{
    struct artifacts a = {0};
    struct err err = {0};
    if (artifacts_open_existing(url, &a, &err)) {
        doctor_say(d, DOCTOR_BAD, "store",
                   "relearn up makes one; or name the right one by --artifacts", "%s", err.msg);
        return;
    }
    try_store(d, &a);
    look_at_room(d, "disk", a.root);
    artifacts_close(&a);
}

/* ---- agents ---- */

static uint64_t number_after(const char *path, const char *label)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct err none = {0};
    const char *at = fsx_read_file(path, 1 << 20, &text, &none) ? NULL : strstr(text.data, label);
    return at ? strtoull(at + strlen(label), NULL, 10) : UINT64_MAX;
}

static void look_at_limits(struct doctor *d, const char *instance, int64_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%lld/limits", (long long)pid);
    uint64_t n = number_after(path, "Max open files"); /* "unlimited" is 0 */
    if (n < NOFILE_MIN && n > 0)
        doctor_say(d, DOCTOR_WARN, "limits", "relearn down; ulimit -n 4096; relearn up",
                   "%s may open %" PRIu64 " files only", instance, n);
}

static void look_at_version(struct doctor *d, const char *instance, const struct json *own,
                            const char *member, const char *mine)
{
    const char *theirs = json_get_str(own, member, mine);
    if (strcmp(theirs, mine) != 0)
        doctor_say(d, DOCTOR_WARN, "versions",
                   "relearn down; relearn up, with the programs of one version",
                   "%s has %s %s, this command %s", instance, member, theirs, mine);
}

static void look_at_agent(struct doctor *d, const char *instance, const char *url, int64_t sent_ms)
{
    struct err err = {0};
    CLEANUP(json_freep) struct json *own = cli_get(url, "/status", &err);
    int64_t got_ms = clk_unix_ms(&clk_system), pending = json_get_int(own, "pending", 0);
    CLEANUP_FREE char *see = xasprintf("see %s/log/%s.log; relearn down and relearn up",
                                       d->site->in.data ? d->site->in.data : "DATA", instance);
    if (!own) {
        doctor_say(d, DOCTOR_BAD, "agents", see, "%s does not answer: %s", instance, err.msg);
        return;
    }
    if (!json_get_bool(own, "ready", false))
        doctor_say(d, DOCTOR_BAD, "agents", see, "%s is not ready%s", instance,
                   json_get_bool(own, "bus", true) ? "" : ", it has no bus");
    if (pending > LAG_MAX) {
        CLEANUP_FREE char *more =
            xasprintf("relearn scale %.*s=N", (int)strcspn(instance, "-"), instance);
        doctor_say(d, DOCTOR_WARN, "agents", more, "%s has %" PRId64 " events to answer", instance,
                   pending);
    }
    int64_t now = json_get_int(own, "now_unix_ms", got_ms);
    if (now < sent_ms - CLOCK_MAX_MS || now > got_ms + CLOCK_MAX_MS)
        doctor_say(d, DOCTOR_BAD, "clocks", "timedatectl set-ntp true, on every machine",
                   "%s's clock is %" PRId64 " ms from this one", instance, now - got_ms);
    look_at_version(d, instance, own, "version", RELEARN_VERSION);
    look_at_version(d, instance, own, "librdkafka", bus_library());
    look_at_version(d, instance, own, "sqlite", store_library());
    look_at_limits(d, instance, json_get_int(own, "pid", 0));
}

static void look_at_broker(struct doctor *d, const struct json *instance)
{
    struct err err = {0};
    CLEANUP(json_freep)
    struct json *own = cli_get(json_get_str(instance, "endpoint", ""), "/status", &err);
    const struct json *journal = json_get(own, "journal");
    const char *stalled = json_get_str(own, "stalled", NULL);
    if (!own)
        doctor_say(d, DOCTOR_BAD, "bus", "see the log of the bus: DATA/log/broker.log",
                   "the embedded bus does not answer: %s", err.msg);
    else if (stalled)
        doctor_say(d, DOCTOR_BAD, "bus", "make room: relearn gc; it goes on by itself",
                   "the bus takes nothing: %s", stalled);
    else if (json_get_int(journal, "lost_records", 0) + json_get_int(journal, "placeholders", 0))
        doctor_say(d, DOCTOR_WARN, "bus",
                   "a Kafka, where the disk is too slow: relearn up --brokers",
                   "messages are gone from its journal: %lld at its start, %lld since",
                   (long long)json_get_int(journal, "placeholders", 0),
                   (long long)json_get_int(journal, "lost_records", 0));
    else
        doctor_say(d, DOCTOR_OK, "bus", NULL, "its journal is %lld messages behind",
                   (long long)json_get_int(journal, "unsynced_records", 0));
}

static void look_at_instances(struct doctor *d)
{
    struct err err = {0};
    CLEANUP(json_freep) struct json *s = cli_get(d->site->in.control_url, "/status", &err);
    const struct json *list = json_get(s, "instances");
    size_t before = d->counts[DOCTOR_WARN] + d->counts[DOCTOR_BAD], restarts = 0;
    if (!s) {
        doctor_say(d, DOCTOR_BAD, "agents", "relearn down; relearn up",
                   "the supervisor does not answer: %s", err.msg);
        return;
    }
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *x = json_at(list, i);
        restarts += (size_t)json_get_int(x, "restarts", 0);
        if (strcmp(json_get_str(x, "agent", ""), "broker") == 0)
            look_at_broker(d, x);
        else
            look_at_agent(d, json_get_str(x, "instance", ""), json_get_str(x, "url", ""),
                          clk_unix_ms(&clk_system));
    }
    if (d->counts[DOCTOR_WARN] + d->counts[DOCTOR_BAD] == before)
        doctor_say(d, DOCTOR_OK, "agents", NULL,
                   "%zu processes answer, are ready, of one version and with clocks like this one; "
                   "%zu restarts",
                   json_len(list), restarts);
}

static void look_at_letters(struct doctor *d, const char *console)
{
    struct err none = {0};
    CLEANUP(json_freep) struct json *j = cli_get(console, "/v1/status", &none);
    int64_t n = json_get_int(j, "dead_letters", 0);
    if (j)
        doctor_say(d, n ? DOCTOR_WARN : DOCTOR_OK, "letters",
                   "relearn deadletters; then relearn deadletters send-back",
                   "%" PRId64 " dead letters wait", n);
}

static void look_at_memory(struct doctor *d)
{
    uint64_t kib = number_after("/proc/meminfo", "MemAvailable:");
    bool is_low = kib < MEMORY_LOW_BYTES >> 10;
    doctor_say(d, is_low ? DOCTOR_WARN : DOCTOR_OK, "memory",
               "lower train.limits.memory of the pipelines, or scale agents down: relearn scale",
               "%" PRIu64 " MiB can be had", kib >> 10);
}

/* ---- the command ---- */

static int doctor(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    struct site site = {0};
    struct doctor d = {.site = &site, .is_json = conf_bool(conf, "json")};
    (void)args;
    (void)n_args;
    if (site_find(conf, &site, err))
        return EXIT_NOT_RUNNING;
    CLEANUP(json_freep) struct json *root = json_object();
    d.findings = json_set(root, "findings", json_array());
    doctor_bus(&d, TOPICS_WAIT_MS);
    if (site.registry)
        doctor_registry(&d);
    look_at_store(&d, site.artifacts);
    if (site.is_running) {
        look_at_room(&d, "disk", site.in.data);
        look_at_instances(&d);
        look_at_letters(&d, site.in.console_url);
    }
    look_at_memory(&d);
    bool is_well = d.counts[DOCTOR_BAD] == 0;
    json_set_bool(root, "well", is_well);
    json_set_int(root, "bad", (int64_t)d.counts[DOCTOR_BAD]);
    json_set_int(root, "warnings", (int64_t)d.counts[DOCTOR_WARN]);
    if (d.is_json)
        cli_print_json(root);
    else
        printf("%zu things are wrong, %zu to look at, %zu in order\n", d.counts[DOCTOR_BAD],
               d.counts[DOCTOR_WARN], d.counts[DOCTOR_OK]);
    site_fini(&site);
    return is_well ? EXIT_DONE : EXIT_REFUSED;
}

const struct cli_command doctor_commands[] = {
    {.name = "doctor",
     .usage = "doctor",
     .purpose = "what is wrong with an installation, and the command that mends it",
     .example = "relearn doctor --json",
     .options = OPTIONS,
     .run = doctor},
    {0},
};
