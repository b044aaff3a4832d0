/* Returns 255 * 2^16 / range: not every chip divides. */
static uint32_t reciprocal(uint32_t range)
{
    const uint32_t dividend = 0xFF0000;
    uint32_t quotient = 0, rest = 0;

    for (int bit = 23; bit >= 0; --bit) {
        rest = rest << 1 | (dividend >> bit & 1);
        quotient <<= 1;
        if (rest >= range) {
            rest -= range;
            quotient |= 1;
        }
    }
    return quotient;
}

static inline uint8_t stretched(unsigned pixel, unsigned darkest, uint32_t factor)
{
    return (uint8_t)(((pixel - darkest) * factor + 0x8000) >> 16);
}

/* Stretches contrast to 0..255, inverts an image whose border is light, and lays it out for the first layer. */
static void normalize(const uint8_t *pixels, uint8_t *map)
{
    unsigned darkest = 255, lightest = 0, border = 0;
    uint32_t factor;
    uint8_t flip;

    for (unsigned i = 0; i < MNIST_CNN_PIXELS; ++i) {
        if (pixels[i] < darkest)
            darkest = pixels[i];
        if (pixels[i] > lightest)
            lightest = pixels[i];
    }
    factor = reciprocal(lightest > darkest ? lightest - darkest : 1);
    for (unsigned i = 0; i < 28; ++i)
        border += stretched(pixels[i], darkest, factor) + stretched(pixels[27 * 28 + i], darkest, factor)
                  + stretched(pixels[28 * i], darkest, factor) + stretched(pixels[28 * i + 27], darkest, factor);
    flip = 2 * border > 255 * 4 * 28 ? 255 : 0;
    for (unsigned i = 0; i < sizeof even_map; ++i)
        map[i] = BACKGROUND;
    for (unsigned y = 0; y < 28; ++y)
        for (unsigned x = 0; x < 28; ++x)
            map[PLACE(y, x)] = stretched(*pixels++, darkest, factor) ^ flip;
}

/* The last layer. */
static void classify(const uint8_t *features, int16_t *logits)
{
    const uint8_t *weights = classifier_weights;
    uint32_t added = 0;

    for (unsigned i = 0; i < POSITIONS * CHANNELS; ++i)
        added += features[i];
    added *= 128;
    for (unsigned class = 0; class < MNIST_CNN_CLASSES; class += 2) {
        uint32_t totals[2] = {0, 0};
$positions
        for (unsigned i = 0; i < 2 && class + i < MNIST_CNN_CLASSES; ++i) {
            const int32_t sum = (int32_t)(totals[i] - added);
            const int32_t logit = ((sum >> $before) * classifier_multipliers[class + i]
                                   + classifier_offsets[class + i]) >> $after;
            logits[class + i] = (int16_t)(logit < INT16_MIN ? INT16_MIN : logit > INT16_MAX ? INT16_MAX : logit);
        }
    }
}

int mnist_cnn_predict(const uint8_t pixels[MNIST_CNN_PIXELS], int16_t logits[MNIST_CNN_CLASSES])
{
    uint8_t *from = even_map, *to = odd_map;
    int best = 0;

    normalize(pixels, from);
    for (unsigned i = 0; i < sizeof layers / sizeof layers[0]; ++i) {
        uint8_t *next = from;
        $run
        from = to;
        to = next;
    }
    classify(from, logits);
    for (int class = 1; class < MNIST_CNN_CLASSES; ++class)
        if (logits[class] > logits[best])
            best = class;
    return best;
}
