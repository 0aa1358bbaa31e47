/* YAML from anywhere: a tree whose parts are all there, or an error with its place. */
#include <string.h>

#include "common/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const struct yaml_node *n, int depth)
{
    BUG_ON(n->line < 1 || n->column < 1 || depth > 33);
    BUG_ON((n->kind == YAML_SCALAR) != (n->scalar != NULL));
    for (size_t i = 0; i < n->n; i++) {
        if (n->kind == YAML_MAPPING)
            BUG_ON(yaml_get(n, n->keys[i]) != n->items[i]); /* and so no key is there twice */
        check(n->items[i], depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena arena = {0};
    const struct yaml_node *root = NULL;
    struct err err = {0};

    if (yaml_parse((struct slice){(const char *)data, n}, "fuzz", &arena, &root, &err))
        BUG_ON(root || !str_has_prefix(err.msg, "fuzz:"));
    else
        check(root, 1);
    arena_fini(&arena);
    return 0;
}
