# penstock_add_plugin(KIND ID SOURCES ... [LIBS ...] [OUTPUT_DIR DIR])
#
# A module source-ID.so or sink-ID.so (KIND is source or sink) that exports exactly the entry, as the
# target KIND_ID, dashes as underscores. It is built in CMAKE_LIBRARY_OUTPUT_DIRECTORY and installed
# where Penstock looks for plugins: in lib/penstock/plugins below the prefix. With an OUTPUT_DIR it
# is a plugin for tests: it is built there and not installed. What PENSTOCK_PLUGIN_LIBS names is
# linked to every plugin of a project.
function(penstock_add_plugin kind id)
  cmake_parse_arguments(A "" "OUTPUT_DIR" "SOURCES;LIBS" ${ARGN})
  if(NOT kind MATCHES "^(source|sink)$" OR NOT id MATCHES "^[a-z0-9-]+$" OR NOT A_SOURCES OR A_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "penstock_add_plugin(${kind} ${id} ${ARGN}): the form is "
      "penstock_add_plugin(source|sink ID SOURCES ... [LIBS ...] [OUTPUT_DIR DIR]), ID of a-z, 0-9 and '-'")
  endif()
  string(REPLACE "-" "_" target "${kind}_${id}")
  add_library(${target} MODULE ${A_SOURCES})
  set_target_properties(${target} PROPERTIES PREFIX "" SUFFIX .so OUTPUT_NAME "${kind}-${id}"
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON LINK_DEPENDS ${PENSTOCK_PLUGIN_MAP})
  target_link_libraries(${target} PRIVATE Penstock::sdk ${A_LIBS} ${PENSTOCK_PLUGIN_LIBS})
  if(CMAKE_CXX_COMPILER)
    target_compile_features(${target} PRIVATE cxx_std_17)
  endif()
  # nodelete: threads and thread-local destructors outlive any dlclose. The version script: else the
  # weak symbols of the C++ library leak out, and other libraries bind to them.
  target_link_options(${target} PRIVATE -Wl,--version-script=${PENSTOCK_PLUGIN_MAP} -Wl,-z,nodelete,-z,now,-z,relro)
  # A forgotten library is an error now; a sanitizer's runtime is found at run time only.
  if(NOT PENSTOCK_SANITIZE AND NOT "${CMAKE_C_FLAGS} ${CMAKE_CXX_FLAGS}" MATCHES "-fsanitize=")
    target_link_options(${target} PRIVATE -Wl,-z,defs)
  endif()
  if(A_OUTPUT_DIR)
    set_target_properties(${target} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${A_OUTPUT_DIR})
  else()
    include(GNUInstallDirs)
    install(TARGETS ${target} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/penstock/plugins)
  endif()
endfunction()
