# Compiler settings shared by every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 99)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

include(GNUInstallDirs)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(GLIB REQUIRED IMPORTED_TARGET glib-2.0)

add_library(imss_options INTERFACE)
target_compile_options(imss_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Werror
  $<$<COMPILE_LANGUAGE:CXX>:-Wconversion -Wnon-virtual-dtor>
  # GCC 12 sees overlaps in std::string that are not there (its bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
if(IMSS_SANITIZE)
  # With little optimisation GCC sees overruns in std::string that are not there; the other builds look for real ones.
  target_compile_options(imss_options INTERFACE -fsanitize=${IMSS_SANITIZE} -fno-omit-frame-pointer
                         $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan -Wno-maybe-uninitialized -Wno-array-bounds -Wno-stringop-overflow>)
  target_link_options(imss_options INTERFACE -fsanitize=${IMSS_SANITIZE})
  if(IMSS_SANITIZE MATCHES "undefined")
    target_compile_options(imss_options INTERFACE -fno-sanitize-recover=undefined)
  endif()
else()
  # Executables use tcmalloc; a sanitizer brings its own allocator.
  pkg_check_modules(TCMALLOC REQUIRED IMPORTED_TARGET libtcmalloc_minimal)
endif()
add_library(imss_executable INTERFACE)
target_link_libraries(imss_executable INTERFACE imss_options)
if(TARGET PkgConfig::TCMALLOC)
  target_link_libraries(imss_executable INTERFACE -Wl,--no-as-needed PkgConfig::TCMALLOC -Wl,--as-needed)
endif()
