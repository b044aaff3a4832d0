static int16_t filtered[$widest];

/* Convolves each channel at one position by itself into filtered. */
static void filter_at(const layer_t *layer, const uint8_t *input, unsigned y, unsigned x)
{
    const unsigned side = layer->side, inputs = layer->inputs;
    const unsigned top = y < 1, left = x < 1, bottom = y + 1 < side ? 3 : 2, right = x + 1 < side ? 3 : 2;

    for (unsigned channel = 0; channel < inputs; ++channel) {
        int32_t sum = 0;
        for (unsigned row = top; row < bottom; ++row)
            for (unsigned column = left; column < right; ++column)
                sum += input[((y + row - 1) * side + x + column - 1) * inputs + channel]
                       * layer->depthwise[(3 * row + column) * inputs + channel];
        filtered[channel] = (int16_t)((sum + (1 << layer->depthwise_shift >> 1)) >> layer->depthwise_shift);
    }
}

/* A residual block, whose convolution is depthwise separable, and max pooling. */
static void residual_block(const layer_t *layer, const uint8_t *input, uint8_t *output)
{
    const unsigned side = layer->side, pool = layer->pool, width = layer->inputs;

    for (unsigned y = 0; y + pool <= side; y += pool)
        for (unsigned x = 0; x + pool <= side; x += pool) {
            for (unsigned i = 0; i < pool * pool; ++i) {
                const unsigned row = y + (i > 1), column = x + (i & 1); /* pool is 1 or 2 */
                const uint8_t *skipped = input + (row * side + column) * width;
                const int8_t *weights = layer->pointwise;

                filter_at(layer, input, row, column);
                for (unsigned j = 0; j < width; ++j) {
                    int32_t sum = 0;
                    uint8_t value;
                    for (unsigned k = 0; k < width; ++k)
                        sum += (int32_t)filtered[k] * *weights++;
                    value = limited(rescaled(sum, layer->multipliers[j],
                                             layer->offsets[j] + skipped[j] * layer->skip_multiplier, layer),
                                    layer->limit);
                    if (i == 0 || value > output[j])
                        output[j] = value;
                }
            }
            output += width;
        }
}

