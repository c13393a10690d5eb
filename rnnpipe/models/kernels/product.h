/* Matrix products for small blocks, with sums that stay in registers. The compiler's vector types make it portable. */
#if defined(__AVX512F__)
enum { LANES = 16, BLOCK = 12 }; /* 2 x BLOCK sums, and what is multiplied, fit into the registers */
#elif defined(__AVX__)
enum { LANES = 8, BLOCK = 6 };
#elif defined(__aarch64__)
enum { LANES = 4, BLOCK = 12 };
#else
enum { LANES = 4, BLOCK = 6 };
#endif
enum { PANEL = 2 * LANES };

#define UNROLLED _Pragma("GCC unroll 16")
#define INLINE static inline __attribute__((always_inline))

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* An element is at[i * row + k * depth]: the same matrix, either way round. */
typedef struct {
    const float *at;
    long row, depth;
} Left;

/* Columns stand in panels: an element is at[j / PANEL * panel + k * row + j % PANEL]. */
typedef struct {
    const float *at;
    long row, panel;
} Right;

INLINE long padded(long count) { return (count + PANEL - 1) / PANEL * PANEL; }

/* The product for m rows, at most BLOCK and known to the compiler, and one panel. */
INLINE void tile(long m, long depth, Left a, const float *b, long b_row, float *c, long c_row, int adds) {
    Vector sum[BLOCK][2];
    UNROLLED
    for (long i = 0; i < m; i++) {
        sum[i][0] = adds ? *(const Vector *)(c + i * c_row) : (Vector){0};
        sum[i][1] = adds ? *(const Vector *)(c + i * c_row + LANES) : (Vector){0};
    }
    for (long k = 0; k < depth; k++) {
        const Vector first = *(const Vector *)(b + k * b_row), second = *(const Vector *)(b + k * b_row + LANES);
        UNROLLED
        for (long i = 0; i < m; i++) {
            const float factor = a.at[i * a.row + k * a.depth];
            sum[i][0] += factor * first;
            sum[i][1] += factor * second;
        }
    }
    UNROLLED
    for (long i = 0; i < m; i++) {
        *(Vector *)(c + i * c_row) = sum[i][0];
        *(Vector *)(c + i * c_row + LANES) = sum[i][1];
    }
}

/* c = a b, or c += a b; columns are whole panels. Each sum runs along the depth, whatever the number of rows. */
static void product(long rows, long depth, long columns, Left a, Right b, float *c, long c_row, int adds) {
    const long blocks = (rows + BLOCK - 1) / BLOCK;
    for (long column = 0; column < columns; column += PANEL, b.at += b.panel) {
        for (long block = 0; block < blocks; block++) {
            const long first = rows * block / blocks, m = rows * (block + 1) / blocks - first;
            const Left some = {a.at + first * a.row, a.row, a.depth};
            float *to = c + first * c_row + column;
            switch (m) {
#define CASE(M) \
    case M: \
        if (M <= BLOCK) tile(M, depth, some, b.at, b.row, to, c_row, adds); \
        break;
                CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
                CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
            }
        }
    }
}
