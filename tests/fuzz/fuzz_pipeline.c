/* Declarations from anywhere: parsing ends in a struct that keeps its promises, or in an error that
 * names the file. */
#include "common/digest.h"
#include "common/metrics.h"
#include "common/pipeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_promises(const struct pipeline *p)
{
    CLEANUP(buf_fini) struct buf b = {0};
    struct metric_spec m;

    BUG_ON(!pipeline_name_is_valid(p->name) || !p->dataset || !p->label || !p->trainer);
    BUG_ON(p->n_rules < 1 || p->n_metrics < 1);
    BUG_ON(p->valid < 0 || p->test <= 0 || p->valid + p->test >= 1);
    BUG_ON(p->strategy == STRATEGY_CANARY && (p->n_steps < 1 || p->steps[p->n_steps - 1] < 1));
    BUG_ON(p->trials < 1 || (p->search == SEARCH_NONE) != (p->n_axes == 0));
    BUG_ON(p->longest_wait_ms < p->quiet_ms || p->run_deadline_ms < p->wall_ms);
    for (size_t i = 0; i < p->n_metrics; i++)
        BUG_ON(metric_parse(p->metrics[i], &m, NULL) || !metric_fits(m.id, p->task));
    for (size_t i = 0; i < p->n_rules; i++)
        gate_rule_str(&p->rules[i], &b);
    BUG_ON(b.len == 0 || !digest_is_hex(p->sha256));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice text = {(const char *)data, n};
    struct pipeline *p = NULL;
    struct err err = {0};

    if (pipeline_parse(text, "fuzz.yaml", &p, &err)) {
        BUG_ON(p || !str_has_prefix(err.msg, "fuzz.yaml:"));
        return 0;
    }
    check_promises(p);
    pipeline_free(p);
    return 0;
}
