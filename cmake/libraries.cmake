# libimss_shared.so and libimss_static.a from one set of objects. Every *.cc below src/ belongs to them.
file(GLOB_RECURSE imss_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.cc)
add_library(imss_objects OBJECT ${imss_sources})
set_property(SOURCE ${PROJECT_SOURCE_DIR}/src/client/c_api_process.cc APPEND PROPERTY
             COMPILE_DEFINITIONS IMSS_VERSION="${PROJECT_VERSION}")
target_include_directories(imss_objects PUBLIC
  ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)
target_compile_definitions(imss_objects PRIVATE IMSS_BUILDING_LIBRARY)
target_link_libraries(imss_objects PRIVATE imss_options PUBLIC Threads::Threads PkgConfig::GLIB)

add_library(imss_shared SHARED $<TARGET_OBJECTS:imss_objects>)
set_target_properties(imss_shared PROPERTIES OUTPUT_NAME imss_shared VERSION ${PROJECT_VERSION}
                      SOVERSION ${PROJECT_VERSION_MAJOR} EXPORT_NAME imss)
target_include_directories(imss_shared PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(imss_shared PRIVATE $<BUILD_INTERFACE:imss_options> Threads::Threads PkgConfig::GLIB)

add_library(imss_static STATIC $<TARGET_OBJECTS:imss_objects>)
set_target_properties(imss_static PROPERTIES OUTPUT_NAME imss_static)
target_include_directories(imss_static PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(imss_static PUBLIC Threads::Threads PRIVATE PkgConfig::GLIB)

# What our own programs and tests link: the objects and the internal headers.
add_library(imss_internal INTERFACE)
target_include_directories(imss_internal INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
target_link_libraries(imss_internal INTERFACE imss_static imss_options PkgConfig::GLIB)
