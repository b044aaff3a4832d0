/* Reads images of 28x28 grey levels from the serial port, 784 bytes each, and answers each with its digit and logits.
 *
 * Put mnist_cnn.h and mnist_cnn.c, which `mnist-cnn export --c` writes, beside this file. The board needs their flash
 * and RAM (their README.md) and 784 bytes of RAM besides; AVR boards copy constants to RAM, which then is too small.
 */
#include "mnist_cnn.h"

static uint8_t pixels[MNIST_CNN_PIXELS];
static int16_t logits[MNIST_CNN_CLASSES];

void setup() {
    Serial.begin(115200);
}

void loop() {
    if (Serial.readBytes(reinterpret_cast<char *>(pixels), sizeof pixels) != sizeof pixels)
        return; // after a second without a whole image
    const unsigned long start = micros();
    const int digit = mnist_cnn_predict(pixels, logits);
    const unsigned long taken = micros() - start;
    Serial.print(digit);
    for (int i = 0; i < MNIST_CNN_CLASSES; ++i) {
        Serial.print(' ');
        Serial.print(logits[i]);
    }
    Serial.print(F(" us "));
    Serial.println(taken);
}
