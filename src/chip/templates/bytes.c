/* Convolves one position's rows for two outputs; added is the sum of its inputs. */
static inline void convolve_two(const layer_t *layer, const uint8_t *corner, const weight_t *weights, unsigned rows,
                                unsigned count, uint32_t added, int32_t results[2])
{
    uint32_t totals[2] = {0, 0};

    for (; rows; --rows) {
        add_products(corner, weights, count, totals);
        corner += layer->side * layer->inputs;
        weights += 3 * WEIGHTS(layer->inputs);
    }
    results[0] = (int32_t)(totals[0] - 128 * added);
    results[1] = (int32_t)(totals[1] - 128 * added);
}

