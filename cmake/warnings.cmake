# One set of flags for all our code; generated code is compiled without it.
add_library(quoral_flags INTERFACE)
target_compile_options(quoral_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
    -Wformat=2 -Wundef -Wcast-qual -Wpointer-arith -Wimplicit-fallthrough -Wno-sign-conversion
    -Wno-gnu-zero-variadic-macro-arguments
    -Wno-string-conversion) # assert(!"why") is how unreachable branches say why
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(quoral_flags INTERFACE -Wno-unknown-warning-option)
else()
    # protobuf-c's __INIT macros drop a const. gcc knows that they come from a system header.
    target_compile_options(quoral_flags INTERFACE -Wno-cast-qual)
endif()
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    # protobuf-c's initialisers cast const away. gcc knows that they come from a system header.
    target_compile_options(quoral_flags INTERFACE -Wno-cast-qual)
endif()
if(QUORAL_WERROR)
    target_compile_options(quoral_flags INTERFACE -Werror)
endif()
target_compile_definitions(quoral_flags INTERFACE _GNU_SOURCE)
target_include_directories(quoral_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)

if(QUORAL_SANITIZE)
    add_compile_options(-fsanitize=${QUORAL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${QUORAL_SANITIZE})
endif()
