static int32_t rescaled(int32_t sum, int32_t multiplier, int32_t offset, const layer_t *layer)
{
    return ((sum >> layer->before) * multiplier + offset) >> layer->after;
}

static uint8_t to_byte(int32_t value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* Convolves at one position into sums, or keeps what is there where that is larger. */
static void convolve_at(const layer_t *layer, const uint8_t *input, unsigned y, unsigned x, int keep)
{
    const unsigned side = layer->side, padding = layer->padding, inputs = layer->inputs;
    const unsigned top = y < padding, left = x < padding;
    const unsigned bottom = y + 3 - padding > side ? 2 : 3, right = x + 3 - padding > side ? 2 : 3;
    const unsigned count = (right - left) * inputs;
    const uint8_t *corner = input + ((y + top - padding) * side + x + left - padding) * inputs;
    const weight_t *weights = layer->weights + WEIGHTS(inputs) * (3 * top + left);
    uint32_t added = 0;

    for (unsigned row = top; row < bottom; ++row)
        for (unsigned i = 0; i < count; ++i)
            added += corner[(row - top) * side * inputs + i];
    added *= ADDED;
    for (unsigned output = 0; output < layer->outputs; output += 2) {
        uint32_t totals[2] = {0, 0};
        const uint8_t *from = corner;
        const weight_t *by = weights;

        for (unsigned row = top; row < bottom; ++row) {
            ADD(from, by, count, totals);
            from += side * inputs;
            by += 3 * WEIGHTS(inputs);
        }
        for (unsigned i = 0; i < 2; ++i) {
            const int32_t sum = (int32_t)(totals[i] - added);
            if (!keep || sum > sums[output + i])
                sums[output + i] = sum;
        }
        weights += 9 * WEIGHTS(inputs);
    }
}

/* Convolution, max pooling, batch norm and ReLU. */
static void convolve(const layer_t *layer, const uint8_t *input, uint8_t *output)
{
    const unsigned side = layer->side + 2u * layer->padding - 2, pool = layer->pool;

    for (unsigned y = 0; y + pool <= side; y += pool)
        for (unsigned x = 0; x + pool <= side; x += pool) {
            for (unsigned i = 0; i < pool; ++i)
                for (unsigned j = 0; j < pool; ++j)
                    convolve_at(layer, input, y + i, x + j, i + j > 0);
            for (unsigned i = 0; i < layer->outputs; ++i)
                *output++ = to_byte(rescaled(sums[i], layer->multipliers[i], layer->offsets[i], layer));
        }
}

