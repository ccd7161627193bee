# libimss_shared.so and libimss_static.a from one set of objects. Every *.cc below src/ belongs to them, but for the
# network module (net_module.cmake).
file(GLOB_RECURSE imss_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.cc)
list(FILTER imss_sources EXCLUDE REGEX "/src/net/module/")
add_library(imss_objects OBJECT ${imss_sources})
set_property(SOURCE ${PROJECT_SOURCE_DIR}/src/client/c_api_process.cc APPEND PROPERTY
             COMPILE_DEFINITIONS IMSS_VERSION="${PROJECT_VERSION}")
# Where the network module is installed, seen from the prefix.
set_property(SOURCE ${PROJECT_SOURCE_DIR}/src/net/module_loader.cc APPEND PROPERTY
             COMPILE_DEFINITIONS IMSS_LIBDIR="${CMAKE_INSTALL_LIBDIR}")
target_include_directories(imss_objects PUBLIC
  ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)
target_compile_definitions(imss_objects PRIVATE IMSS_BUILDING_LIBRARY)
# Most of the time of a sanitizer build would go into the same headers again and again: there several files are compiled
# as one. The other builds show when a file lacks an include.
if(IMSS_SANITIZE)
  set_target_properties(imss_objects PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 10)
  target_precompile_headers(imss_objects PRIVATE ${PROJECT_SOURCE_DIR}/src/client/session.h)
endif()
target_link_libraries(imss_objects PRIVATE imss_options PUBLIC Threads::Threads ${CMAKE_DL_LIBS} PkgConfig::GLIB)

add_library(imss_shared SHARED $<TARGET_OBJECTS:imss_objects>)
set_target_properties(imss_shared PROPERTIES OUTPUT_NAME imss_shared VERSION ${PROJECT_VERSION}
                      SOVERSION ${PROJECT_VERSION_MAJOR} EXPORT_NAME imss)
target_include_directories(imss_shared PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(imss_shared PRIVATE $<BUILD_INTERFACE:imss_options> Threads::Threads ${CMAKE_DL_LIBS} PkgConfig::GLIB)

add_library(imss_static STATIC $<TARGET_OBJECTS:imss_objects>)
set_target_properties(imss_static PROPERTIES OUTPUT_NAME imss_static)
target_include_directories(imss_static PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(imss_static PUBLIC Threads::Threads ${CMAKE_DL_LIBS} PRIVATE PkgConfig::GLIB)

# What our own programs and tests link: the objects and the internal headers.
add_library(imss_internal INTERFACE)
target_include_directories(imss_internal INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
target_link_libraries(imss_internal INTERFACE imss_static imss_options PkgConfig::GLIB)
