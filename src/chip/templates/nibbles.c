/* Has a sum added up in the order that is written: another takes two registers more. */
#ifdef __GNUC__
#define IN_ORDER(sum) __asm__("" : "+r"(sum))
#else
#define IN_ORDER(sum) (void)0
#endif

/* Adds the products of inputs and weights of two outputs, modulo 2^16 each, to the halves of a word.
 *
 * Weights are stored in 4 bits with 8 added, those of four inputs in a word: one multiplication serves both outputs.
 * By itself it fits the eight registers that a Cortex-M0 computes with.
 */
SEPARATE static uint32_t add_nibbles(const uint8_t *input, const uint32_t *weights, unsigned count, uint32_t both)
{
    const uint8_t *const end = input + count;

    do {
        const uint32_t word = *weights++;
        both += (word >> 12 & 0x000F000F) * input[3];
        IN_ORDER(both);
        both += (word >> 8 & 0x000F000F) * input[2];
        IN_ORDER(both);
        both += (word >> 4 & 0x000F000F) * input[1];
        IN_ORDER(both);
        both += (word & 0x000F000F) * input[0];
        input += 4;
    } while (input != end);
    return both;
}

static int32_t signed_half(uint32_t word)
{
    return (int32_t)((word & 0xFFFF) ^ 0x8000) - 0x8000;
}

/* Convolves one position's rows for two outputs; added is the sum of its inputs. The results fit 16 bits. */
static inline void convolve_two(const layer_t *layer, const uint8_t *corner, const weight_t *weights, unsigned rows,
                                unsigned count, uint32_t added, int32_t results[2])
{
    uint32_t both = 0;

    for (; rows; --rows) {
        both = add_nibbles(corner, weights, count, both);
        corner += layer->side * layer->inputs;
        weights += 3 * WEIGHTS(layer->inputs);
    }
    both -= added * 0x00080008;
    results[0] = signed_half(both);
    results[1] = signed_half((both - (uint32_t)results[0]) >> 16);
}

