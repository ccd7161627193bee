# libimss_net.so: UCX and ZeroMQ behind the interfaces of src/net. Nothing links it; it is loaded when a process first
# needs a server on another node.
pkg_check_modules(UCX REQUIRED IMPORTED_TARGET ucx)
pkg_check_modules(UCX_TOOLS REQUIRED IMPORTED_TARGET ucx-ucs)
# The loader of the module uses a header of UCX, and nothing to link.
target_include_directories(imss_objects SYSTEM PRIVATE ${UCX_INCLUDE_DIRS})
pkg_check_modules(ZMQ REQUIRED IMPORTED_TARGET libzmq)

file(GLOB imss_net_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/net/module/*.cc)
# Of src/base only what the module needs, so that it does not carry GLib into programs.
add_library(imss_net MODULE ${imss_net_sources}
  ${PROJECT_SOURCE_DIR}/src/base/log.cc
  ${PROJECT_SOURCE_DIR}/src/base/result.cc)
target_include_directories(imss_net PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(imss_net PRIVATE imss_options Threads::Threads PkgConfig::UCX PkgConfig::UCX_TOOLS PkgConfig::ZMQ)
if(IMSS_SANITIZE)
  set_target_properties(imss_net PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 10)
else()  # a sanitizer's functions are in the program
  target_link_options(imss_net PRIVATE -Wl,--no-undefined)
endif()

# Whoever builds a program or test of ours gets the module to load.
add_dependencies(imss_static imss_net)
