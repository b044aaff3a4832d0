# A C module of MicroPython: make -C ports/rp2 USER_C_MODULES=.../examples/micropython (CMake ports: micropython.cmake).
# Put mnist_cnn.h and mnist_cnn.c, which `mnist-cnn export --c` writes, beside this file.
MNIST_CNN := $(USERMOD_DIR)
SRC_USERMOD += $(MNIST_CNN)/module.c $(MNIST_CNN)/mnist_cnn.c
CFLAGS_USERMOD += -I$(MNIST_CNN)
