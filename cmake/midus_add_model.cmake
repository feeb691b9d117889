# Programs for a model whose shape is that of a config.json: the shape becomes a type at configure time.
#
#   midus_add_model(NAME CONFIG config.json [VALUE_POLICIES header...])
#     CONFIG is a config.json, or a directory with one. Makes the target NAME::model, which brings the header
#     "midus_model.hpp" (midus_model::Model, ::Base, ::Memory, ::shape), midus::midus and midus::hf. CMake runs
#     again when the file changes; what is wrong with it is an error of CMake. VALUE_POLICIES are the headers of value
#     policies that are not midus' own (default: those of the variable MIDUS_VALUE_POLICIES).
#
#   midus_add_programs(NAME [FOLDER directory])
#     Makes the target NAME_programs: pretrain, cpt, evaluate, sample, score, logits, slot_use and head_ablation for the model,
#     which come to lie in FOLDER (default: NAME/ in the build directory). They are one executable with several names.
include_guard(GLOBAL)

# Sets `result` to the program model_header, which is compiled now: a type is needed before anything can be
# built. Once for all models of a build tree that have the same value policies, whose headers are the further arguments; or
# give one that runs here, with -DMIDUS_MODEL_HEADER=FILE.
function(_midus_model_header result)
  if(MIDUS_MODEL_HEADER)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${MIDUS_MODEL_HEADER}")
    set(${result} "${MIDUS_MODEL_HEADER}" PARENT_SCOPE)
    return()
  endif()
  if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
    message(FATAL_ERROR "midus_add_model runs a program of midus' on this machine: compile "
                        "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/model_header.cpp for it, and configure with "
                        "-DMIDUS_MODEL_HEADER=FILE")
  endif()
  set(source "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/model_header.cpp")
  get_target_property(imported midus::midus IMPORTED)
  if(imported)
    get_target_property(include midus::midus INTERFACE_INCLUDE_DIRECTORIES)
    list(GET include 0 include)
  else()
    get_filename_component(include "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../include" ABSOLUTE)
  endif()
  set(name model_header)
  if(ARGN)  # one that knows them too
    string(SHA256 key "${ARGN}")
    string(SUBSTRING ${key} 0 12 key)
    set(name model_header_${key})
    set(text "")
    foreach(header IN LISTS ARGN)
      string(APPEND text "#include \"${header}\"\n")
    endforeach()
    file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/midus/${name}.cpp" CONTENT "${text}#include \"${source}\"\n" @ONLY)
    set(source "${CMAKE_BINARY_DIR}/midus/${name}.cpp")
  endif()
  set(program "${CMAKE_BINARY_DIR}/midus/${name}${CMAKE_EXECUTABLE_SUFFIX}")
  set(${result} "${program}" PARENT_SCOPE)

  # The headers whose change makes another program of it.
  set(sources "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/model_header.cpp" "${source}" ${ARGN} "${include}/midus/io/llama_config.hpp" "${include}/midus/io/llama_config_reader.hpp"
              "${include}/midus/io/json_object.hpp" "${include}/midus/io/json.hpp" "${include}/midus/layers/value_kinds.hpp")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${sources})
  set(current TRUE)
  foreach(file IN LISTS sources)
    if("${file}" IS_NEWER_THAN "${program}")
      set(current FALSE)
    endif()
  endforeach()
  if(current)
    return()
  endif()

  message(STATUS "Compiling midus' model_header")
  if(NOT TARGET nlohmann_json::nlohmann_json)
    find_package(nlohmann_json 3.9 QUIET)  # a parent project does not see what midus found
  endif()
  set(folders "")
  set(libraries "")
  function(_midus_needs target)  # try_compile takes imported targets alone; of others the folders
    get_target_property(imported ${target} IMPORTED)
    if(imported)
      list(APPEND libraries ${target})
    else()
      _midus_include_folders(more ${target})
      list(APPEND folders ${more})
    endif()
    set(libraries "${libraries}" PARENT_SCOPE)
    set(folders "${folders}" PARENT_SCOPE)
  endfunction()
  _midus_needs(nlohmann_json::nlohmann_json)
  if(ARGN)  # a policy's header includes all of midus
    if(NOT TARGET Eigen3::Eigen)
      find_package(Eigen3 QUIET NO_MODULE)
    endif()
    find_package(Threads QUIET)
    _midus_needs(Eigen3::Eigen)
    list(APPEND libraries Threads::Threads)
  endif()
  set(link "")
  if(libraries)
    set(link LINK_LIBRARIES ${libraries})
  endif()
  set(CMAKE_TRY_COMPILE_CONFIGURATION Debug)
  try_compile(compiled "${CMAKE_BINARY_DIR}/midus/${name}_build" "${source}"
              CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${include};${folders}"
              ${link}
              CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON
              OUTPUT_VARIABLE output COPY_FILE "${program}" COPY_FILE_ERROR copy_error)
  set(good ${compiled})
  unset(compiled CACHE)
  if(NOT good)
    file(REMOVE "${program}")
    message(FATAL_ERROR "midus_add_model: cannot compile ${source} ${copy_error}\n${output}")
  endif()
endfunction()

function(midus_add_model name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "CONFIG" "VALUE_POLICIES")
  if(NOT arg_CONFIG OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "midus_add_model: write midus_add_model(NAME CONFIG config.json [VALUE_POLICIES header...])")
  endif()
  if(NOT arg_VALUE_POLICIES)
    set(arg_VALUE_POLICIES ${MIDUS_VALUE_POLICIES})
  endif()
  set(policies "")
  set(includes "")
  foreach(header IN LISTS arg_VALUE_POLICIES)
    get_filename_component(path "${header}" ABSOLUTE)
    if(NOT EXISTS "${path}")
      message(FATAL_ERROR "midus_add_model(${name}): there is no header ${path}")
    endif()
    list(APPEND policies "${path}")
    list(APPEND includes --include "${path}")
  endforeach()
  get_filename_component(config "${arg_CONFIG}" ABSOLUTE)
  if(IS_DIRECTORY "${config}")
    string(APPEND config "/config.json")
  endif()
  if(NOT EXISTS "${config}")
    message(FATAL_ERROR "midus_add_model(${name}): there is no file ${config}")
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${config}")

  _midus_model_header(program ${policies})
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/midus_models/${name}")
  execute_process(COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} "${program}" "${config}" --out "${folder}/midus_model.hpp" ${includes}
                  RESULT_VARIABLE status ERROR_VARIABLE message OUTPUT_VARIABLE message)
  if(NOT status EQUAL 0)
    string(REGEX REPLACE "^model_header: " "" message "${message}")
    message(FATAL_ERROR "midus_add_model(${name}): ${message}")
  endif()

  add_library(${name}_model INTERFACE)
  add_library(${name}::model ALIAS ${name}_model)
  target_include_directories(${name}_model INTERFACE "${folder}")
  target_link_libraries(${name}_model INTERFACE midus::midus midus::hf)
endfunction()

function(midus_add_programs name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "FOLDER" "")
  if(arg_UNPARSED_ARGUMENTS OR NOT TARGET ${name}::model)
    message(FATAL_ERROR "midus_add_programs: write midus_add_model(${name} CONFIG config.json), then "
                        "midus_add_programs(${name} [FOLDER directory])")
  endif()
  # In the repository, or installed; MIDUS_PROGRAM_SOURCES names another folder.
  set(sources "${MIDUS_PROGRAM_SOURCES}")
  foreach(near ../examples ../../../share/midus/examples ../../../../share/midus/examples)
    if(NOT sources AND EXISTS "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${near}/programs.cpp")
      get_filename_component(sources "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${near}" ABSOLUTE)
    endif()
  endforeach()
  if(NOT sources)
    message(FATAL_ERROR "midus_add_programs: the sources of midus' programs are not installed; set "
                        "MIDUS_PROGRAM_SOURCES to the folder examples/ of its repository")
  endif()
  if(NOT TARGET CLI11::CLI11)
    find_package(CLI11 QUIET)
  endif()
  if(NOT TARGET CLI11::CLI11)
    message(FATAL_ERROR "The programs of midus need CLI11: install libcli11-dev, or set CLI11_DIR")
  endif()
  if(NOT arg_FOLDER)
    set(arg_FOLDER "${name}")
  endif()
  get_filename_component(folder "${arg_FOLDER}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")
  add_executable(${name}_programs "${sources}/programs.cpp")
  if(NOT TARGET midus::tokenizer)
    message(FATAL_ERROR "The programs of midus need PCRE2: install libpcre2-dev")
  endif()
  target_link_libraries(${name}_programs PRIVATE ${name}::model midus::tokenizer CLI11::CLI11)
  if(TARGET midus_settings)  # in midus' own build
    target_link_libraries(${name}_programs PRIVATE midus_settings)
  endif()
  set_target_properties(${name}_programs PROPERTIES OUTPUT_NAME programs RUNTIME_OUTPUT_DIRECTORY "${folder}")
  foreach(program pretrain cpt evaluate sample score logits slot_use head_ablation)
    add_custom_command(TARGET ${name}_programs POST_BUILD VERBATIM
                       COMMAND ${CMAKE_COMMAND} -E create_hardlink programs ${program}
                       WORKING_DIRECTORY "${folder}")
  endforeach()
endfunction()
