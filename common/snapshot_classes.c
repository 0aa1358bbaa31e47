/* Classes of a label: their names and their order. */
#include "common/snapshot.h"

static int compare_numbers(const void *a, const void *b)
{
    double x = 0, y = 0;

    if (str_to_double(*(char *const *)a, &x) || str_to_double(*(char *const *)b, &y))
        return 0;
    if (x != y)
        return x < y ? -1 : 1;
    return strcmp(*(char *const *)a, *(char *const *)b); /* "1" and "1.0" */
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void classes_sort(char **classes, size_t n)
{
    bool numeric = true;
    double v;

    for (size_t i = 0; i < n && numeric; i++)
        numeric = str_to_double(classes[i], &v) == 0;
    if (n > 1)
        qsort(classes, n, sizeof(*classes), numeric ? compare_numbers : compare_text);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

struct slice class_name(struct slice raw, char *out, size_t out_size)
{
    size_t sign = raw.n > 0 && raw.p[0] == '-', digits = sign, zeros;

    while (digits < raw.n && is_digit(raw.p[digits]))
        digits++;
    for (zeros = digits + 1; zeros < raw.n && raw.p[zeros] == '0'; zeros++)
        ;
    if (digits > sign && digits + 1 < raw.n && raw.p[digits] == '.' && zeros == raw.n)
        raw.n = digits;
    if (raw.n >= out_size)
        raw.n = out_size - 1;
    memcpy(out, raw.p, raw.n);
    out[raw.n] = '\0';
    return (struct slice){out, raw.n};
}
