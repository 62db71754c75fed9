# The functions every CMakeLists.txt of Berth uses, so that flags and conventions are stated once.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

find_program(BERTH_CCACHE ccache)
if(BERTH_CCACHE)
  # What ccache asks for where headers are precompiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${BERTH_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${BERTH_CCACHE})
endif()
find_program(BERTH_MOLD mold)

add_library(berth_flags INTERFACE)
target_compile_options(berth_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fno-omit-frame-pointer
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor -Woverloaded-virtual>)
# g++ 12 sees overlaps, overflows and uninitialised values in the standard library's own "text" + std::string and
# std::optional that are not there (GCC bugs 105651, 105329 and 105562, fixed in 13), more of them where headers are
# precompiled. The sanitizers' builds look for true ones.
target_compile_options(berth_flags INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict -Wno-maybe-uninitialized -Wno-stringop-overflow -Wno-array-bounds>)
# Of sources compiled as one, all but the first look like headers to g++.
target_compile_options(berth_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
target_compile_definitions(berth_flags INTERFACE _GLIBCXX_ASSERTIONS)

if(BERTH_SANITIZE)
  add_compile_options(-fsanitize=${BERTH_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${BERTH_SANITIZE})
  # Reports are files of this folder; everybody may write there, because some programs drop to another user.
  set(reports ${CMAKE_BINARY_DIR}/reports)
  file(MAKE_DIRECTORY ${reports})
  file(CHMOD ${reports} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_WRITE GROUP_EXECUTE
    WORLD_READ WORLD_WRITE WORLD_EXECUTE)
  if(NOT BERTH_FUZZ)  # libFuzzer reads its own reports
    set(BERTH_SANITIZER_REPORTS ${reports})
    configure_file(${CMAKE_CURRENT_LIST_DIR}/sanitizer_options.cpp.in ${CMAKE_BINARY_DIR}/sanitizer_options.cpp @ONLY)
    target_sources(berth_flags INTERFACE
      $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:${CMAKE_BINARY_DIR}/sanitizer_options.cpp>)
  endif()
endif()
if(BERTH_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# Nearly every source reads the same 300 headers of the standard library, a second and a half each time: they are read
# once for the product and once for the tests, whose flags differ. Sources include what they use all the same; the preset
# tidy compiles them without this and proves it.
file(WRITE ${CMAKE_BINARY_DIR}/precompiled.cpp "// Nothing: its target owns a precompiled header.\n")
foreach(kind product test)
  add_library(berth_${kind}_headers OBJECT ${CMAKE_BINARY_DIR}/precompiled.cpp)
  target_link_libraries(berth_${kind}_headers PRIVATE berth_flags Threads::Threads)
  target_precompile_headers(berth_${kind}_headers PRIVATE
    <algorithm> <array> <atomic> <charconv> <chrono> <condition_variable> <deque> <filesystem> <fstream> <functional>
    <future> <map> <memory> <mutex> <optional> <random> <ranges> <set> <span> <sstream> <string> <string_view> <thread>
    <unordered_map> <unordered_set> <utility> <variant> <vector>)
endforeach()
target_compile_options(berth_test_headers PRIVATE -O0)

# berth_lib(NAME core SOURCES a.cpp DEPS berth::log PRIVATE_DEPS some::thing)
# A library of libs/<NAME>, linked as berth::<NAME>, whose headers are included as <NAME>/x.hpp.
function(berth_lib)
  cmake_parse_arguments(A "" "NAME" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(berth_${A_NAME} STATIC ${A_SOURCES})
  add_library(berth::${A_NAME} ALIAS berth_${A_NAME})
  target_include_directories(berth_${A_NAME} PUBLIC ${CMAKE_SOURCE_DIR}/libs)
  target_link_libraries(berth_${A_NAME} PUBLIC ${A_DEPS} Threads::Threads
    PRIVATE berth_flags ${A_PRIVATE_DEPS})
  target_precompile_headers(berth_${A_NAME} REUSE_FROM berth_product_headers)
endfunction()

# berth_support(NAME nats SOURCES nats_server.cpp [DEPS berth::core] [PRIVATE_DEPS berth::net])
# What tests and benchmarks are given, linked as berth::test_<NAME>; its headers are included as support/<folder>/x.hpp.
# Compiled as tests are, but where benchmarks load the suite with it.
function(berth_support)
  cmake_parse_arguments(A "" "NAME" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(berth_test_${A_NAME} STATIC ${A_SOURCES})
  add_library(berth::test_${A_NAME} ALIAS berth_test_${A_NAME})
  target_include_directories(berth_test_${A_NAME} PUBLIC ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(berth_test_${A_NAME} PUBLIC ${A_DEPS} PRIVATE berth_flags ${A_PRIVATE_DEPS})
  if(BERTH_BENCH)
    target_precompile_headers(berth_test_${A_NAME} REUSE_FROM berth_product_headers)
  else()
    target_compile_options(berth_test_${A_NAME} PRIVATE -O0)
    target_precompile_headers(berth_test_${A_NAME} REUSE_FROM berth_test_headers)
  endif()
endfunction()

# berth_test(NAME core_test SOURCES a_test.cpp DEPS berth::core [LABELS unit] [TIMEOUT 60] [ENV A=b])
# One GoogleTest executable and one ctest entry.
function(berth_test)
  if(NOT BERTH_TESTS)
    return()
  endif()
  cmake_parse_arguments(A "" "NAME;TIMEOUT" "SOURCES;DEPS;LABELS;ENV" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  if(BERTH_SANITIZE)  # a sanitizer makes a program two to ten times slower
    math(EXPR A_TIMEOUT "${A_TIMEOUT} * 4")
  endif()
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  find_package(GTest REQUIRED)
  add_executable(${A_NAME} ${A_SOURCES})
  target_link_libraries(${A_NAME} PRIVATE berth_flags ${A_DEPS} GTest::gtest GTest::gtest_main)
  # A test waits for what it tests, not for its own code: a fifth of its compile time is worth more.
  target_compile_options(${A_NAME} PRIVATE -O0)
  target_precompile_headers(${A_NAME} REUSE_FROM berth_test_headers)
  set_target_properties(${A_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${A_NAME} COMMAND ${A_NAME})
  set_tests_properties(${A_NAME} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT}
    ENVIRONMENT "BERTH_BIN_DIR=${CMAKE_BINARY_DIR}/bin;BERTH_SOURCE_DIR=${CMAKE_SOURCE_DIR};${A_ENV}")
endfunction()

# berth_fake_tests(slack fake_test sdk_test TIMEOUT 360 FOR slack_platform_test)
# The tests of tests/fakes/<name>, by Debian's own Python, which has the distribution's libraries. A missing one skips.
# Those of FOR are run against a fake that passed them (or where they were skipped) only.
function(berth_fake_tests name)
  if(NOT BERTH_TESTS)
    return()
  endif()
  cmake_parse_arguments(A "" "TIMEOUT" "FOR" ${ARGN})
  foreach(test ${A_UNPARSED_ARGUMENTS})
    # An sdk_test installs others' libraries into its folder.
    set(folder $<$<STREQUAL:${test},sdk_test>:${CMAKE_BINARY_DIR}/sdk/${name}>)
    add_test(NAME ${name}_${test} COMMAND /usr/bin/python3 -B ${CMAKE_SOURCE_DIR}/tests/fakes/${name}/${test}.py ${folder}
      COMMAND_EXPAND_LISTS)
    set_tests_properties(${name}_${test} PROPERTIES LABELS contract TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77
      FIXTURES_SETUP ${name}_${test})
    foreach(user ${A_FOR})
      set_property(TEST ${user} APPEND PROPERTY FIXTURES_REQUIRED ${name}_${test})
    endforeach()
  endforeach()
endfunction()

# berth_proxied_test(whatsapp SPEC whatsapp-cloud-reduced.json [PREFIX /v1] [ANSWERS] PROGRAM whatsapp_bridge_test
#   TESTS A.B:A.C)
# Tests of PROGRAM once more, with an implementation of OpenAPI by others (npm) between client and fake, which holds both
# to the official description. Clients have deadlines and node is slow: nothing else runs beside it. ANSWERS: only what the fake says.
function(berth_proxied_test name)
  if(NOT BERTH_TESTS)
    return()
  endif()
  cmake_parse_arguments(A "ANSWERS" "SPEC;PREFIX;PROGRAM;TESTS" "" ${ARGN})
  add_test(NAME ${name}_proxied_test COMMAND /usr/bin/python3 -B ${CMAKE_SOURCE_DIR}/tests/fakes/common/proxied_test.py
    $<$<BOOL:${A_ANSWERS}>:--answers> --prefix=${A_PREFIX} ${CMAKE_BINARY_DIR}/sdk/prism ${A_SPEC} $<TARGET_FILE:${A_PROGRAM}>
    --gtest_filter=${A_TESTS} COMMAND_EXPAND_LISTS)
  set_tests_properties(${name}_proxied_test PROPERTIES LABELS contract TIMEOUT 400 SKIP_RETURN_CODE 77 RUN_SERIAL TRUE
    ENVIRONMENT "BERTH_BIN_DIR=${CMAKE_BINARY_DIR}/bin;BERTH_SOURCE_DIR=${CMAKE_SOURCE_DIR}")
endfunction()

# berth_service(NAME lease_broker BINARY berth-lease SOURCES a.cpp DEPS berth::service)
# An object library <NAME>_objects shared by the executable and its tests, and the executable of
# main.cpp under the name BINARY.
function(berth_service)
  cmake_parse_arguments(A "" "NAME;BINARY" "SOURCES;DEPS" ${ARGN})
  add_library(${A_NAME}_objects STATIC ${A_SOURCES})
  target_include_directories(${A_NAME}_objects PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/..)
  target_link_libraries(${A_NAME}_objects PUBLIC ${A_DEPS} PRIVATE berth_flags)
  target_precompile_headers(${A_NAME}_objects REUSE_FROM berth_product_headers)
  add_executable(${A_BINARY} main.cpp)
  target_link_libraries(${A_BINARY} PRIVATE berth_flags ${A_NAME}_objects)
  target_precompile_headers(${A_BINARY} REUSE_FROM berth_product_headers)
endfunction()
