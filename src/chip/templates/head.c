/* Written by mnist-cnn export --c: C99, integers of 32 bits only, no memory but static buffers.
 *
 * Right shifts of negative numbers are arithmetic, as every compiler for these chips makes them.
 */
#include "mnist_cnn.h"

/* A function of its own: its loop then has the registers to itself. */
#ifdef __GNUC__
#define SEPARATE __attribute__((noinline))
#else
#define SEPARATE
#endif

$tables
typedef struct {
    const weight_t *weights; /* of two outputs each, in the order of rows, columns and inputs */
    const int16_t *multipliers;
    const int32_t *offsets;
    uint16_t inputs, outputs; /* channels */
    uint8_t side;             /* of the square of positions that is read */
    uint8_t padding;          /* zeros around it, 0 or 1 */
    uint8_t pool;             /* side of the squares of positions whose maximum is kept */
    uint8_t before, after;    /* bits: ((sum >> before) * multiplier + offset) >> after is the output */
    uint8_t limit;            /* of the output */
$fields} layer_t;

static const layer_t layers[] = {
$layers};

static uint8_t even_map[$even_bytes], odd_map[$odd_bytes]; /* [row][column][channel] */
static int32_t sums[$widest];

/* Adds the products of inputs and weights to two outputs' totals; weights are stored with 128 added. */
SEPARATE static void add_products(const uint8_t *input, const uint8_t *weights, unsigned count, uint32_t totals[2])
{
    const uint8_t *const end = input + count;
    uint32_t first = totals[0], second = totals[1];

    do {
$unrolled        input += $step;
        weights += 2 * $step;
    } while (input != end);
    totals[0] = first;
    totals[1] = second;
}

