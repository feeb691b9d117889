# What midus needs of others, from the project that asks for midus, where that has made the target already, and from
# installed packages else: Eigen3_FOUND with MIDUS_EIGEN_VERSION, nlohmann_json_FOUND, and PCRE2_FOUND. (Version arguments
# are not given for Eigen: they refuse 5.x for another major version.)

# Sets `result` to the folders that a target's headers lie in, in the build of its project or installed.
function(_midus_include_folders result target)
  get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
  set(plain "")
  foreach(folder IN LISTS folders)
    string(REGEX REPLACE "^\\$<BUILD_INTERFACE:(.*)>$" "\\1" folder "${folder}")
    if(NOT folder MATCHES "^\\$<" AND IS_DIRECTORY "${folder}")
      list(APPEND plain "${folder}")
    endif()
  endforeach()
  set(${result} "${plain}" PARENT_SCOPE)
endfunction()

# Sets `result` to the version that Eigen3::Eigen's own headers name, whichever package was found beside it.
function(_midus_eigen_version result)
  set(${result} "${Eigen3_VERSION}" PARENT_SCOPE)
  if(NOT TARGET Eigen3::Eigen)
    return()
  endif()
  _midus_include_folders(folders Eigen3::Eigen)
  foreach(folder IN LISTS folders)
    set(numbers "")
    foreach(header Eigen/Version Eigen/src/Core/util/Macros.h)  # of 5.x, of 3.x
      if(EXISTS "${folder}/${header}")
        file(STRINGS "${folder}/${header}" lines REGEX "define +EIGEN_(WORLD|MAJOR|MINOR)_VERSION +[0-9]+")
        list(APPEND numbers ${lines})
      endif()
    endforeach()
    if(numbers MATCHES "WORLD_VERSION +([0-9]+).*MAJOR_VERSION +([0-9]+).*MINOR_VERSION +([0-9]+)")
      set(${result} "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

if(TARGET Eigen3::Eigen)
  set(Eigen3_FOUND TRUE)
else()
  find_package(Eigen3 QUIET NO_MODULE)
endif()
_midus_eigen_version(MIDUS_EIGEN_VERSION)

if(TARGET nlohmann_json::nlohmann_json)
  set(nlohmann_json_FOUND TRUE)
else()
  find_package(nlohmann_json 3.9 QUIET)
endif()

include("${CMAKE_CURRENT_LIST_DIR}/midus_pcre2.cmake")
