/* Reads images from standard input, a file like t10k-images-idx3-ubyte, and prints a line for each: class, logits. */
#include <stdio.h>

#include "mnist_cnn.h"

static uint32_t big_endian(const uint8_t bytes[4])
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

int main(void)
{
    static uint8_t header[16], pixels[MNIST_CNN_PIXELS];
    int16_t logits[MNIST_CNN_CLASSES];
    uint32_t images;

    if (fread(header, 1, sizeof header, stdin) != sizeof header || big_endian(header) != 0x00000803
        || big_endian(header + 8) != 28 || big_endian(header + 12) != 28) {
        fputs("standard input is no IDX file of 28x28 images; give one, such as t10k-images-idx3-ubyte\n", stderr);
        return 2;
    }
    images = big_endian(header + 4);
    for (uint32_t i = 0; i < images; ++i) {
        if (fread(pixels, 1, sizeof pixels, stdin) != sizeof pixels) {
            fprintf(stderr, "standard input ends after %lu of %lu images\n", (unsigned long)i, (unsigned long)images);
            return 2;
        }
        printf("%d", mnist_cnn_predict(pixels, logits));
        for (int class = 0; class < MNIST_CNN_CLASSES; ++class)
            printf(" %d", logits[class]);
        putchar('\n');
    }
    return 0;
}
