/* Heads of .npy files from anywhere: a shape whose bytes can be counted, or an error. */
#include "common/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct npy_header h = {0};
    struct err err = {0};
    size_t bytes;

    if (npy_parse_header((struct slice){(const char *)data, n}, "fuzz", &h, &err)) {
        BUG_ON(err.code != ERR_INVAL || h.ndim);
        return 0;
    }
    BUG_ON(h.ndim < 1 || h.ndim > 2 || h.data_offset > n || (h.ndim == 1 && h.cols != 1));
    BUG_ON(__builtin_mul_overflow(h.rows, h.cols, &bytes));
    BUG_ON(__builtin_mul_overflow(bytes, npy_type_size(h.type), &bytes));
    return 0;
}
