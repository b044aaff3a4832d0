/* import mnist_cnn; mnist_cnn.predict(buffer of 784 grey levels) -> (digit, list of logits in units of 1/256). */
#include "py/obj.h"
#include "py/runtime.h"

#include "mnist_cnn.h"

static mp_obj_t predict(mp_obj_t buffer)
{
    mp_buffer_info_t pixels;
    int16_t logits[MNIST_CNN_CLASSES];
    mp_obj_t items[MNIST_CNN_CLASSES], result[2];

    mp_get_buffer_raise(buffer, &pixels, MP_BUFFER_READ);
    if (pixels.len != MNIST_CNN_PIXELS)
        mp_raise_ValueError(MP_ERROR_TEXT("give 784 bytes: 28 rows of 28 grey levels"));
    result[0] = MP_OBJ_NEW_SMALL_INT(mnist_cnn_predict(pixels.buf, logits));
    for (int i = 0; i < MNIST_CNN_CLASSES; ++i)
        items[i] = MP_OBJ_NEW_SMALL_INT(logits[i]);
    result[1] = mp_obj_new_list(MNIST_CNN_CLASSES, items);
    return mp_obj_new_tuple(2, result);
}
static MP_DEFINE_CONST_FUN_OBJ_1(predict_obj, predict);

static const mp_rom_map_elem_t globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_mnist_cnn)},
    {MP_ROM_QSTR(MP_QSTR_predict), MP_ROM_PTR(&predict_obj)},
};
static MP_DEFINE_CONST_DICT(globals, globals_table);

const mp_obj_module_t mnist_cnn_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&globals,
};
MP_REGISTER_MODULE(MP_QSTR_mnist_cnn, mnist_cnn_module);
