/* Archives and arrays from anywhere: rows, or an error; memory and disk stay bounded. */
#include <sys/mman.h>
#include <unistd.h>

#include "agents/ingest/arrays.h"
#include "common/fsx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { UNPACKED_MAX_BYTES = 1 << 20 };

static struct artifacts store;
static struct pipeline *pipeline;

static char *dir;

static void end(void)
{
    artifacts_close(&store);
    pipeline_free(pipeline);
    (void)!fsx_remove_tree(dir, NULL);
    free(dir);
}

static void begin(void)
{
    static const char yaml[] = "apiVersion: relearn/v1\nkind: Pipeline\nname: p\n"
                               "dataset: {name: d, label: y}\ntask: multiclass\n";
    struct err err;

    dir = fsx_tmpdir("fuzz-npz", &err);
    BUG_ON(!dir || artifacts_open(dir, &store, &err));
    BUG_ON(pipeline_parse(slice_str(yaml), "p", &pipeline, &err));
    atexit(end);
}

static void read_arrays(const struct arrays *x)
{
    static const struct strset none;
    struct sheet s = {0};
    struct slice *names = xcalloc(x->names.n + 1, sizeof(*names));
    struct err err;

    for (size_t i = 0; i < x->names.n; i++)
        names[i] = (struct slice){x->names.items[i], x->names.lens[i]};
    sheet_open(&s, pipeline, &store, names, x->names.n, &none);
    if (!s.report.is_rejected && arrays_rows(x, &s, NULL, &err) == 0) {
        BUG_ON((size_t)s.rows != x->features.h.rows);
        sheet_end(&s, ABSENT_I64);
    }
    sheet_close(&s);
    free(names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arrays x;
    struct err err;
    int fd;

    if (!pipeline)
        begin();
    fd = memfd_create("npz", MFD_CLOEXEC);
    BUG_ON(fd < 0 || write(fd, data, n) != (ssize_t)n);
    for (int is_zip = 0; is_zip <= 1; is_zip++)
        if (arrays_open(&store, fd, is_zip != 0, pipeline, UNPACKED_MAX_BYTES, &x, &err) == 0) {
            read_arrays(&x);
            arrays_close(&x);
        }
    close(fd);
    return 0;
}
