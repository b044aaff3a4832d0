# As micropython.mk, for the ports that CMake builds (rp2, esp32): -DUSER_C_MODULES=.../micropython.cmake
add_library(usermod_mnist_cnn INTERFACE)
target_sources(usermod_mnist_cnn INTERFACE ${CMAKE_CURRENT_LIST_DIR}/module.c ${CMAKE_CURRENT_LIST_DIR}/mnist_cnn.c)
target_include_directories(usermod_mnist_cnn INTERFACE ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(usermod INTERFACE usermod_mnist_cnn)
