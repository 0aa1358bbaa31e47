/* YAML as a tree with line numbers, for configuration only: no anchors, aliases, tags or multiple
 * documents; size and depth capped.  The only module with yaml.h.  Thread: any. */
#ifndef COMMON_YAML_H
#define COMMON_YAML_H

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

enum yaml_kind { YAML_SCALAR = 0, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    int line, column;         /* from 1 */
    const char *scalar;       /* YAML_SCALAR: text */
    bool quoted;              /* "1" is a string, 1 a number */
    struct yaml_node **items; /* sequence items, or mapping values */
    const char **keys;        /* mapping: keys[i] belongs to items[i]; duplicates are an error */
    int *key_lines;
    size_t n;
};

/* Everything lives in *arena.  Errors, all permanent: ERR_INVAL with `what:line:column: `,
 * ERR_LIMIT above 1 MiB.  At most 32 levels and 10,000 keys in a mapping; keys are scalars; an
 * empty text is refused. */
int yaml_parse(struct slice text, const char *what, struct arena *arena,
               const struct yaml_node **ret, struct err *err) WARN_UNUSED;
/* NULL when absent. */
const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key);
/* null, ~, or empty, and unquoted; a NULL pointer gives true. */
bool yaml_is_null(const struct yaml_node *n);

#endif
