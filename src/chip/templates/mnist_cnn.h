/* A trained network that tells which of $count classes an image of 28x28 pixels shows: $classes.
 *
 * Written by mnist-cnn export --c; README.md says how large and how accurate it is.
 */
#ifndef MNIST_CNN_H
#define MNIST_CNN_H

#include <stdint.h>

#define MNIST_CNN_PIXELS 784
#define MNIST_CNN_CLASSES $count

#ifdef __cplusplus
extern "C" {
#endif

/* Returns the class with the largest logit, 0 to MNIST_CNN_CLASSES - 1, the first of several.
 *
 * pixels: raw grey levels, row by row from the top left, light on dark or dark on light.
 * logits: gets a number for each class, in units of 1/256.
 *
 * It works in static buffers: one call at a time.
 */
int mnist_cnn_predict(const uint8_t pixels[MNIST_CNN_PIXELS], int16_t logits[MNIST_CNN_CLASSES]);

#ifdef __cplusplus
}
#endif

#endif
