# Installs midus: headers, the package (find_package(midus [COMPONENTS hf])), midus_add_model with its generator, and the
# programs' sources.
include(CMakePackageConfigHelpers)

set(midus_package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/midus")
install(DIRECTORY include/midus DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.hpp")
install(TARGETS midus midus_hf EXPORT midus_targets)
install(EXPORT midus_targets NAMESPACE midus:: DESTINATION "${midus_package_folder}" FILE midus-targets.cmake)
if(TARGET midus_tokenizer)  # apart: its users need PCRE2
  install(TARGETS midus_tokenizer EXPORT midus_tokenizer_targets)
  install(EXPORT midus_tokenizer_targets NAMESPACE midus:: DESTINATION "${midus_package_folder}"
          FILE midus-tokenizer-targets.cmake)
endif()

configure_package_config_file(cmake/midus-config.cmake.in midus-config.cmake
                              INSTALL_DESTINATION "${midus_package_folder}")
configure_file(cmake/midus-config-version.cmake.in midus-config-version.cmake @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/midus-config.cmake" "${CMAKE_CURRENT_BINARY_DIR}/midus-config-version.cmake"
              cmake/midus_add_model.cmake cmake/midus_gemm.cmake cmake/midus_packages.cmake cmake/midus_pcre2.cmake cmake/model_header.cpp
        DESTINATION "${midus_package_folder}")

# pkg-config midus, midus-hf: for programs that CMake does not build.
set(midus_pc_folder "${CMAKE_INSTALL_DATADIR}/pkgconfig")
file(RELATIVE_PATH MIDUS_PC_PREFIX "/${midus_pc_folder}" "/")
string(REGEX REPLACE "/$" "" MIDUS_PC_PREFIX "${MIDUS_PC_PREFIX}")
set(midus_pc_files midus midus-hf)
if(TARGET midus_tokenizer)
  list(APPEND midus_pc_files midus-tokenizer)
endif()
foreach(name IN LISTS midus_pc_files)
  configure_file(cmake/${name}.pc.in ${name}.pc @ONLY)
  install(FILES "${CMAKE_CURRENT_BINARY_DIR}/${name}.pc" DESTINATION "${midus_pc_folder}")
endforeach()

file(GLOB midus_program_sources examples/*.cpp examples/*.hpp)
install(FILES ${midus_program_sources} DESTINATION "${CMAKE_INSTALL_DATADIR}/midus/examples")
