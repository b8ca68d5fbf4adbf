# What every target of this project shares.
add_library(penstock_warnings INTERFACE)
target_compile_options(penstock_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor -Woverloaded-virtual>
  $<$<BOOL:${PENSTOCK_WERROR}>:-Werror>)
if(PENSTOCK_SANITIZE)
  add_compile_options(-fsanitize=${PENSTOCK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${PENSTOCK_SANITIZE})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(penstock_warnings INTERFACE -Wthread-safety)
endif()

# Programs are linked with -pie, as CMAKE_POSITION_INDEPENDENT_CODE has them compiled.
include(CheckPIESupported)
check_pie_supported()

find_program(PENSTOCK_CCACHE ccache)
if(PENSTOCK_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${PENSTOCK_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${PENSTOCK_CCACHE})
endif()

# penstock_core_library(NAME SOURCES ... [DEPS ...]): one folder of core/src as a static library.
function(penstock_core_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_library(penstock_${name} STATIC ${A_SOURCES})
  target_include_directories(penstock_${name} PUBLIC ${PROJECT_SOURCE_DIR}/core/include ${PROJECT_SOURCE_DIR}/core/src)
  target_link_libraries(penstock_${name} PUBLIC ${A_DEPS} Threads::Threads PRIVATE penstock_warnings)
endfunction()

# The function that makes plugins is the SDK's; here it warns as elsewhere.
include(PenstockPlugin)
set(PENSTOCK_PLUGIN_MAP ${PROJECT_SOURCE_DIR}/core/include/penstock/plugin.map)
set(PENSTOCK_PLUGIN_LIBS penstock_warnings)

# penstock_test(NAME SOURCES ... [LIBS ...] [LABELS ...] [NO_LEAK_CHECK]): one GoogleTest binary, its cases found at build
# time. NO_LEAK_CHECK: LeakSanitizer falls over threads that a library ends in the background.
function(penstock_test name)
  cmake_parse_arguments(A "NO_LEAK_CHECK" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 60)
  endif()
  add_executable(${name} ${A_SOURCES} ${PROJECT_SOURCE_DIR}/tests/fakes/settle_threads.cc)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${A_LIBS} GTest::gmock GTest::gtest_main penstock_warnings)
  include(GoogleTest)
  set(properties LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT})
  if(A_NO_LEAK_CHECK AND PENSTOCK_SANITIZE MATCHES address)
    list(APPEND properties ENVIRONMENT_MODIFICATION "ASAN_OPTIONS=string_append::detect_leaks=0")
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES ${properties})
endfunction()
