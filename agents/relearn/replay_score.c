#include "agents/relearn/replay_score.h"

#include <math.h>
#include <string.h>
#include <uthash.h>

void score_class(struct score *s, bool is_correct, double p_of_label)
{
    const double floor = 1e-15; /* as scikit-learn's log_loss clips */
    double p = isfinite(p_of_label) ? p_of_label : floor;
    s->rows++;
    s->correct += is_correct;
    s->logloss -= log(p < floor ? floor : p > 1 ? 1 : p);
}

void score_value(struct score *s, double predicted, double actual)
{
    double d = predicted - actual;
    s->rows++;
    s->absolute += fabs(d);
    s->square += d * d;
}

double score_accuracy(const struct score *s)
{
    return s->rows ? (double)s->correct / (double)s->rows : NAN;
}

double score_logloss(const struct score *s)
{
    return s->rows ? s->logloss / (double)s->rows : NAN;
}

double score_mae(const struct score *s)
{
    return s->rows ? s->absolute / (double)s->rows : NAN;
}

double score_rmse(const struct score *s)
{
    return s->rows ? sqrt(s->square / (double)s->rows) : NAN;
}

struct seen_label {
    char *label;
    int64_t n;
    UT_hash_handle hh;
};
struct naive {
    enum task task;
    struct score last_score, majority_score;
    struct seen_label *labels, *last, *majority;
    double last_value, sum;
    int64_t n;
};

struct naive *naive_new(enum task task)
{
    struct naive *n = xcalloc(1, sizeof(*n));
    n->task = task;
    return n;
}

void naive_free(struct naive *n)
{
    if (!n)
        return;
    struct seen_label *l, *next;
    HASH_ITER (hh, n->labels, l, next) {
        HASH_DEL(n->labels, l);
        free_ptr(&l->label);
        free_ptr(&l);
    }
    free_ptr(&n);
}

static void number(struct naive *n, const char *label, bool is_scored)
{
    double v;
    if (str_to_double(label, &v))
        return;
    if (is_scored && n->n) {
        score_value(&n->last_score, n->last_value, v);
        score_value(&n->majority_score, n->sum / (double)n->n, v);
    }
    n->last_value = v;
    n->sum += v;
    n->n++;
}

static struct seen_label *seen(struct naive *n, const char *label)
{
    struct seen_label *l = NULL;
    HASH_FIND_STR(n->labels, label, l);
    if (l)
        return l;
    l = xcalloc(1, sizeof(*l));
    l->label = xstrdup(label);
    HASH_ADD_KEYPTR(hh, n->labels, l->label, strlen(l->label), l);
    return l;
}

void naive_label(struct naive *n, const char *label, bool is_scored)
{
    if (n->task == TASK_REGRESSION) {
        number(n, label, is_scored);
        return;
    }
    struct seen_label *l = seen(n, label);
    if (is_scored && n->last) {
        score_class(&n->last_score, n->last == l, NAN);
        score_class(&n->majority_score, n->majority == l, NAN);
    }
    l->n++;
    n->last = l;
    if (!n->majority || l->n > n->majority->n)
        n->majority = l;
}

const struct score *naive_last(const struct naive *n)
{
    return &n->last_score;
}

const struct score *naive_majority(const struct naive *n)
{
    return &n->majority_score;
}
