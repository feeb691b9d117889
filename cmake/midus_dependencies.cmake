# Finds what midus::midus and midus::hf need; says what to install when something is missing.

# find_package(Eigen3 3.4) refuses 5.x (same major version only), so the version is compared here.
find_package(Eigen3 QUIET NO_MODULE)
if(NOT Eigen3_FOUND)
  message(FATAL_ERROR "midus needs Eigen 3.4 or newer: install libeigen3-dev, or set Eigen3_DIR")
elseif(Eigen3_VERSION VERSION_LESS 3.4)
  message(FATAL_ERROR "midus needs Eigen 3.4 or newer, found ${Eigen3_VERSION} in ${Eigen3_DIR}")
endif()
find_package(nlohmann_json 3.9 QUIET)
if(NOT nlohmann_json_FOUND)
  set(message "midus::hf needs nlohmann-json 3.9 or newer: install nlohmann-json3-dev, or set nlohmann_json_DIR")
  if(MIDUS_TESTS OR MIDUS_EXAMPLES OR MIDUS_BENCHMARKS OR MIDUS_INSTALL)
    message(FATAL_ERROR "${message}")
  endif()
  message(STATUS "${message}; there is midus::midus alone")
endif()
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
