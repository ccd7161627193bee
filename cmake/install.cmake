# What `cmake --install` puts where: libraries, headers, programs, manual pages, imss.pc and find_package(imss).
include(CMakePackageConfigHelpers)

# The folder where programs look for imss.conf last.
set_property(SOURCE ${PROJECT_SOURCE_DIR}/src/base/config.cc APPEND PROPERTY
             COMPILE_DEFINITIONS IMSS_CONF_DIR="${CMAKE_INSTALL_FULL_SYSCONFDIR}")

set(imss_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/imss)
install(TARGETS imss_shared imss_static EXPORT imss_targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS imss_net LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(EXISTS ${PROJECT_SOURCE_DIR}/include/imss)
  install(DIRECTORY include/imss DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
endif()

# Scripts and programs that users call. The targets belong to other folders; each is installed where it is built.
foreach(program IN ITEMS imss server mount.imss umount.imss)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  elseif(EXISTS ${PROJECT_SOURCE_DIR}/tools/${program})
    install(PROGRAMS tools/${program} DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()

file(GLOB manual_pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.1)
if(manual_pages)
  install(FILES ${manual_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()

# Relative to where imss.pc ends up, so that an installed tree can be moved.
file(RELATIVE_PATH imss_prefix_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/imss.pc.in ${PROJECT_BINARY_DIR}/imss.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/imss.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(EXPORT imss_targets NAMESPACE imss:: FILE imss-targets.cmake DESTINATION ${imss_package_dir})
configure_package_config_file(cmake/imss-config.cmake.in ${PROJECT_BINARY_DIR}/imss-config.cmake
                              INSTALL_DESTINATION ${imss_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/imss-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/imss-config.cmake ${PROJECT_BINARY_DIR}/imss-config-version.cmake
        DESTINATION ${imss_package_dir})
