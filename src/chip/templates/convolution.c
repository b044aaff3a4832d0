static int32_t rescaled(int32_t sum, int32_t multiplier, int32_t offset, const layer_t *layer)
{
    return ((sum >> layer->before) * multiplier + offset) >> layer->after;
}

static uint8_t limited(int32_t value, int32_t limit)
{
    return (uint8_t)(value < 0 ? 0 : value > limit ? limit : value);
}

/* Convolves at one position into sums, or keeps what is there where that is larger. */
static void convolve_at(const layer_t *layer, const uint8_t *input, unsigned y, unsigned x, int keep)
{
    const unsigned side = layer->side, padding = layer->padding, inputs = layer->inputs;
    const unsigned top = y < padding, left = x < padding;
    const unsigned rows = (y + 3 - padding > side ? 2 : 3) - top;
    const unsigned count = ((x + 3 - padding > side ? 2 : 3) - left) * inputs;
    const uint8_t *const corner = input + ((y + top - padding) * side + x + left - padding) * inputs;
    const weight_t *weights = layer->weights + WEIGHTS(inputs) * (3 * top + left);
    uint32_t added = 0;

    for (unsigned row = 0; row < rows; ++row) {
        const uint8_t *value = corner + row * side * inputs;
        const uint8_t *const end = value + count;
        while (value != end)
            added += *value++;
    }
    for (unsigned output = 0; output < layer->outputs; output += 2) {
        int32_t results[2];

        convolve_two(layer, corner, weights, rows, count, added, results);
        for (unsigned i = 0; i < 2; ++i)
            if (!keep || results[i] > sums[output + i])
                sums[output + i] = results[i];
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
                *output++ = limited(rescaled(sums[i], layer->multipliers[i], layer->offsets[i], layer), layer->limit);
        }
}

