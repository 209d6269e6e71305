# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` gives to others: one archive with everything of ours in it, the headers that client.h needs,
# and a package for find_package(holdfast). The headers lie in a folder of their own, so that "base/status.h" is nobody
# else's.
set(parts hf_base hf_packs hf_wire hf_planner hf_snapshot hf_jobclient hf_io_config hf_io_net hf_io_bulk hf_io_far hf_io_shm hf_io_disk_reader holdfast)
list(TRANSFORM parts REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
add_library(holdfast_archive STATIC ${objects})
set_target_properties(holdfast_archive PROPERTIES OUTPUT_NAME holdfast EXPORT_NAME holdfast LINKER_LANGUAGE CXX
                      ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/install)
set(header_folder ${CMAKE_INSTALL_INCLUDEDIR}/holdfast-${PROJECT_VERSION_MAJOR})
target_include_directories(holdfast_archive INTERFACE $<INSTALL_INTERFACE:${header_folder}>)
target_compile_features(holdfast_archive INTERFACE cxx_std_20)

find_package(CURL REQUIRED)
find_package(EXPAT REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(spdlog REQUIRED)
target_link_libraries(holdfast_archive INTERFACE
  $<INSTALL_INTERFACE:zmq> $<INSTALL_INTERFACE:xxhash> $<INSTALL_INTERFACE:zstd> $<INSTALL_INTERFACE:OpenSSL::Crypto> $<INSTALL_INTERFACE:CURL::libcurl>
  $<INSTALL_INTERFACE:EXPAT::EXPAT> $<INSTALL_INTERFACE:spdlog::spdlog> $<INSTALL_INTERFACE:Threads::Threads>)

install(TARGETS holdfast_archive EXPORT holdfast-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT client)
install(DIRECTORY include/holdfast DESTINATION ${header_folder} COMPONENT client)
foreach(header base/bytes.h base/ids.h base/log.h base/status.h base/units.h wire/local_reader.h wire/shm_layout.h)
  cmake_path(GET header PARENT_PATH folder)
  install(FILES ${PROJECT_SOURCE_DIR}/${header} DESTINATION ${header_folder}/${folder} COMPONENT client)
endforeach()

include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/holdfast)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/holdfast-config.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/holdfast-config.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/holdfast-config-version.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT holdfast-targets NAMESPACE holdfast:: DESTINATION ${package_folder} COMPONENT client)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/holdfast-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/holdfast-config-version.cmake
  DESTINATION ${package_folder} COMPONENT client)
