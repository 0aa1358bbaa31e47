/* Names of metrics: what there is, what parameters each takes, and how a name is read and written.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/metrics_internal.h"

enum {
    IN_BINARY = 1 << TASK_BINARY,
    IN_SEVERAL = 1 << TASK_MULTICLASS,
    IN_VALUES = 1 << TASK_REGRESSION
};
enum { IN_CLASSES = IN_BINARY | IN_SEVERAL };
enum takes {
    TAKES_NOTHING = 0,
    TAKES_AVERAGE = 1,
    TAKES_BETA = 2,
    TAKES_QUANTILE = 4,
    TAKES_BINS = 8,
    TAKES_K = 16
};
enum { ARGUMENTS_MAX_BYTES = 48, BETA_MAX = 100 };

static const struct kind {
    const char *name, *example;
    enum metric_family family;
    int tasks;
    bool higher;
    int takes;
    double low, high;
} KINDS[METRIC_COUNT] = {
    [METRIC_NONE] = {"none", "none", FAMILY_MEAN, 0, false, 0, 0, 0},
    [METRIC_ACCURACY] = {"accuracy", "accuracy", FAMILY_CONFUSION, IN_CLASSES, true, 0, 0, 1},
    [METRIC_BALANCED_ACCURACY] = {"balanced_accuracy", "balanced_accuracy", FAMILY_CONFUSION,
                                  IN_CLASSES, true, 0, 0, 1},
    [METRIC_PRECISION] = {"precision", "precision", FAMILY_CONFUSION, IN_CLASSES, true,
                          TAKES_AVERAGE, 0, 1},
    [METRIC_RECALL] = {"recall", "recall", FAMILY_CONFUSION, IN_CLASSES, true, TAKES_AVERAGE, 0, 1},
    [METRIC_F1] = {"f1", "f1", FAMILY_CONFUSION, IN_CLASSES, true, TAKES_AVERAGE, 0, 1},
    [METRIC_FBETA] = {"fbeta", "fbeta(2)", FAMILY_CONFUSION, IN_CLASSES, true,
                      TAKES_AVERAGE | TAKES_BETA, 0, 1},
    [METRIC_MCC] = {"mcc", "mcc", FAMILY_CONFUSION, IN_CLASSES, true, 0, -1, 1},
    [METRIC_AUC] = {"auc", "auc", FAMILY_RANK, IN_CLASSES, true, 0, 0, 1},
    [METRIC_AUC_PR] = {"auc_pr", "auc_pr", FAMILY_RANK, IN_CLASSES, true, 0, 0, 1},
    [METRIC_LOGLOSS] = {"logloss", "logloss", FAMILY_MEAN, IN_CLASSES, false, 0, 0, INFINITY},
    [METRIC_BRIER] = {"brier", "brier", FAMILY_MEAN, IN_CLASSES, false, 0, 0, 2},
    [METRIC_ECE] = {"ece", "ece", FAMILY_ECE, IN_CLASSES, false, TAKES_BINS, 0, 1},
    [METRIC_COST] = {"cost", "cost", FAMILY_MEAN, IN_CLASSES, false, 0, -INFINITY, INFINITY},
    [METRIC_MAE] = {"mae", "mae", FAMILY_MEAN, IN_VALUES, false, 0, 0, INFINITY},
    [METRIC_RMSE] = {"rmse", "rmse", FAMILY_MEAN, IN_VALUES, false, 0, 0, INFINITY},
    [METRIC_R2] = {"r2", "r2", FAMILY_MEAN, IN_VALUES, true, 0, -INFINITY, 1},
    [METRIC_MAPE] = {"mape", "mape", FAMILY_MEAN, IN_VALUES, false, 0, 0, INFINITY},
    [METRIC_SMAPE] = {"smape", "smape", FAMILY_MEAN, IN_VALUES, false, 0, 0, 2},
    [METRIC_QUANTILE] = {"quantile", "quantile(0.9)", FAMILY_MEAN, IN_VALUES, false, TAKES_QUANTILE,
                         0, INFINITY},
    [METRIC_POISSON_DEVIANCE] = {"poisson_deviance", "poisson_deviance", FAMILY_MEAN, IN_VALUES,
                                 false, 0, 0, INFINITY},
    [METRIC_GAMMA_DEVIANCE] = {"gamma_deviance", "gamma_deviance", FAMILY_MEAN, IN_VALUES, false, 0,
                               0, INFINITY},
    [METRIC_NDCG] = {"ndcg", "ndcg@10", FAMILY_GROUP, IN_BINARY | IN_VALUES, true, TAKES_K, 0, 1},
    [METRIC_MAP] = {"map", "map@10", FAMILY_GROUP, IN_BINARY | IN_VALUES, true, TAKES_K, 0, 1},
};
static const char *const AVERAGES[] = {[AVERAGE_DEFAULT] = "",
                                       [AVERAGE_MICRO] = "micro",
                                       [AVERAGE_MACRO] = "macro",
                                       [AVERAGE_WEIGHTED] = "weighted"};

static const struct kind *kind_of(enum metric m)
{
    return &KINDS[(unsigned)m < METRIC_COUNT ? m : METRIC_NONE];
}

enum metric_family metric__family(enum metric m)
{
    return kind_of(m)->family;
}

const char *metric_example(enum metric m)
{
    return kind_of(m)->example;
}

bool metric_higher_is_better(enum metric m)
{
    return kind_of(m)->higher;
}

bool metric_fits(enum metric m, enum task t)
{
    return (kind_of(m)->tasks >> t & 1) != 0;
}

bool metric_needs_groups(enum metric m)
{
    return kind_of(m)->family == FAMILY_GROUP;
}

void metric_range(enum metric m, double *ret_low, double *ret_high)
{
    *ret_low = kind_of(m)->low;
    *ret_high = kind_of(m)->high;
}

struct metric_spec metric_of(enum metric id)
{
    return (struct metric_spec){.id = id};
}

bool metric_is_same(const struct metric_spec *a, const struct metric_spec *b)
{
    return a->id == b->id && a->average == b->average && a->number == b->number &&
           a->count == b->count;
}

/* ---- written ---- */

void metric_str(const struct metric_spec *m, char out[METRIC_NAME_SIZE])
{
    const struct kind *k = kind_of(m->id);
    const char *average = AVERAGES[(unsigned)m->average < ARRAY_LEN(AVERAGES) ? m->average : 0];
    char number[32] = "";

    if (k->takes & (TAKES_BETA | TAKES_QUANTILE))
        double_to_str(m->number, number);
    else if (k->takes & (TAKES_BINS | TAKES_K) && m->count > 0)
        snprintf(number, sizeof(number), "%lld", (long long)m->count);
    if (k->takes & TAKES_K)
        snprintf(out, METRIC_NAME_SIZE, "%s%s%s", k->name, *number ? "@" : "", number);
    else if (*number || *average)
        snprintf(out, METRIC_NAME_SIZE, "%s(%s%s%s)", k->name, number,
                 *number && *average ? " " : "", average);
    else
        snprintf(out, METRIC_NAME_SIZE, "%s", k->name);
}

/* ---- read ---- */

static int bad(const char *text, struct err *err, const char *must)
{
    return err_inval(err, "'%.60s': %s", text, must);
}

static const char *must_of(const struct kind *k)
{
    if (k->takes & TAKES_BETA)
        return "give beta, above 0 and at most 100, and perhaps one of micro, macro, weighted: "
               "fbeta(2), fbeta(0.5 macro)";
    if (k->takes & TAKES_AVERAGE)
        return "takes one of micro, macro, weighted, or nothing";
    if (k->takes & TAKES_QUANTILE)
        return "give the quantile, above 0 and below 1: quantile(0.9)";
    if (k->takes & TAKES_BINS)
        return "takes a number of bins from 2 to 1000, or nothing: ece(15)";
    if (k->takes & TAKES_K)
        return "takes the number of first places from 1 to 1000000, or nothing: ndcg@10, map@10";
    return "takes no parameter";
}

static bool read_whole(const char *word, int64_t min, int64_t max, int64_t *ret)
{
    return str_to_i64(word, ret) == 0 && *ret >= min && *ret <= max;
}

static bool read_number(const struct kind *k, const char *word, struct metric_spec *m)
{
    double v;

    if (k->takes & TAKES_BINS)
        return m->count == 0 && read_whole(word, 2, METRIC_MAX_BINS, &m->count);
    if (m->number != 0 || str_to_double(word, &v) || !(v > 0))
        return false;
    m->number = v;
    if (k->takes & TAKES_BETA)
        return v <= BETA_MAX;
    return (k->takes & TAKES_QUANTILE) && v < 1;
}

static bool read_argument(const struct kind *k, const char *word, struct metric_spec *m)
{
    for (int a = AVERAGE_MICRO; k->takes & TAKES_AVERAGE && a <= AVERAGE_WEIGHTED; a++) {
        if (strcmp(word, AVERAGES[a]) != 0)
            continue;
        if (m->average != AVERAGE_DEFAULT)
            return false;
        m->average = (enum metric_average)a;
        return true;
    }
    return read_number(k, word, m);
}

/* "(a b)": at least one. */
static bool read_arguments(const struct kind *k, const char *text, struct metric_spec *m)
{
    size_t n = strlen(text), n_words = 0;
    char copy[ARGUMENTS_MAX_BYTES], *at = copy;

    if (n < 3 || n - 2 >= sizeof(copy) || text[n - 1] != ')')
        return false;
    memcpy(copy, text + 1, n - 2);
    copy[n - 2] = '\0';
    while (*at) {
        size_t len = strcspn(at, " ,");
        bool is_last = at[len] == '\0';

        at[len] = '\0';
        if (len > 0 && !read_argument(k, at, m))
            return false;
        n_words += len > 0;
        at += len + !is_last;
    }
    return n_words > 0;
}

int metric_parse(const char *text, struct metric_spec *ret, struct err *err)
{
    size_t n = strcspn(text, "(@");
    const struct kind *k = NULL;
    bool is_good;

    *ret = (struct metric_spec){0};
    for (int m = METRIC_NONE + 1; !k && m < METRIC_COUNT; m++)
        if (strlen(KINDS[m].name) == n && memcmp(text, KINDS[m].name, n) == 0) {
            ret->id = (enum metric)m;
            k = &KINDS[m];
        }
    if (!k)
        return err_inval(err, "unknown metric '%.60s'", text);
    if (text[n] == '@')
        is_good = k->takes & TAKES_K && read_whole(text + n + 1, 1, METRIC_MAX_K, &ret->count);
    else if (text[n] == '(')
        is_good =
            k->takes != TAKES_NOTHING && !(k->takes & TAKES_K) && read_arguments(k, text + n, ret);
    else
        is_good = true;
    if (is_good && k->takes & (TAKES_BETA | TAKES_QUANTILE))
        is_good = ret->number > 0;
    return is_good ? 0 : bad(text, err, must_of(k));
}
