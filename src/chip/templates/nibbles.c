/* The same for weights of 4 bits, stored with 8 added: a word has those of four inputs.
 *
 * One multiplication serves two outputs, whose sums share a word: 16 products of at most 15 * 255 fit into 16 bits.
 */
static inline void add_nibbles(const uint8_t *input, const uint32_t *weights, unsigned count, uint32_t totals[2])
{
    uint32_t first = totals[0], second = totals[1];

    while (count) {
        const unsigned block = count < 16 ? count : 16;
        const uint8_t *end = input + block;
        uint32_t both = 0;

        do {
            const uint32_t word = *weights++;
            both += input[0] * (word & 0x000F000F);
            both += input[1] * ((word >> 4) & 0x000F000F);
            both += input[2] * ((word >> 8) & 0x000F000F);
            both += input[3] * ((word >> 12) & 0x000F000F);
            input += 4;
        } while (input != end);
        first += both & 0xFFFF;
        second += both >> 16;
        count -= block;
    }
    totals[0] = first;
    totals[1] = second;
}

