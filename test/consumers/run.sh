#!/usr/bin/env bash
# Builds and runs the same program the way each kind of user does, against midus as it is installed or lies there.
#
#   bash test/consumers/run.sh [bare|find_package|openblas|find_package_after_eigen|add_subdirectory|fetch_content|pkg_config|errors]...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
[ $# -gt 0 ] || set -- bare find_package find_package_after_eigen add_subdirectory fetch_content pkg_config errors

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "test/consumers/run.sh: $*" >&2; exit 1; }

# A copy of the consumers, with a header that includes every other one.
cp -r "$here" "$work/consumers"
(cd "$source/include" && find midus -name '*.hpp' | LC_ALL=C sort | sed 's/.*/#include "&"/') > "$work/headers"
{ echo '#pragma once'; grep 'midus/midus.hpp' "$work/headers"; cat "$work/headers"; } > "$work/consumers/every_header.hpp"

install_midus() {  # once; then moved, since a package must not know where it was put (PB-03)
  [ -d "$work/elsewhere" ] && return
  cmake -S "$source" -B "$work/build" -G Ninja -DMIDUS_TESTS=OFF -DMIDUS_EXAMPLES=OFF \
    -DCMAKE_INSTALL_PREFIX="$work/prefix" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  cmake --install "$work/build" > "$work/log"
  mv "$work/prefix" "$work/elsewhere"
  if grep -rlF -e "$work" -e "$source" "$work/elsewhere"; then fail "these installed files hold a path of the build"; fi
}

build() {  # build NAME [CMAKE_OPTION]...
  local name=$1
  shift
  cmake -S "$work/consumers/$name" -B "$work/$name" -G Ninja "$@" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  cmake --build "$work/$name" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  "$work/$name/consumer"
}

refused() {  # refused SENTENCE LINES: a project of these lines, which CMake must refuse with the sentence
  local sentence=$1 folder
  folder=$(mktemp -d -p "$work")
  printf 'cmake_minimum_required(VERSION 3.22)\nproject(refused CXX)\n%s\n' "$2" > "$folder/CMakeLists.txt"
  if cmake -S "$folder" -B "$folder/build" -G Ninja -Dmidus_ROOT="$work/elsewhere" "${@:3}" > "$work/log" 2>&1; then
    fail "CMake took what it must refuse: $2"
  fi
  tr -s ' \n' ' ' < "$work/log" | grep -qF "$sentence" || { cat "$work/log"; fail "the sentence is missing: $sentence"; }
}

for consumer in "$@"; do
  echo "== $consumer"
  case $consumer in
    bare | find_package | find_package_after_eigen | openblas) install_midus; build "$consumer" -Dmidus_ROOT="$work/elsewhere" ;;
    add_subdirectory | fetch_content) build "$consumer" -DMIDUS_SOURCE="$source" ;;
    pkg_config)
      install_midus
      PKG_CONFIG_PATH=$(dirname "$(find "$work/elsewhere" -name midus.pc)") \
        make -s -C "$work/consumers/pkg_config" CXX="${CXX:-c++}"
      "$work/consumers/pkg_config/consumer" ;;
    errors)
      install_midus
      refused "midus has no component cuda" "find_package(midus REQUIRED COMPONENTS cuda)"
      refused "0.2" "find_package(midus 0.2 REQUIRED)"
      eigen=$work/old_eigen
      mkdir -p "$eigen"
      echo 'set(Eigen3_FOUND TRUE)' > "$eigen/Eigen3Config.cmake"
      echo 'set(PACKAGE_VERSION 3.3.9)' > "$eigen/Eigen3ConfigVersion.cmake"
      refused "midus needs Eigen 3.4 or newer" "find_package(midus REQUIRED)" -DEigen3_DIR="$eigen"
      itself="add_subdirectory(\"$source\" midus)
        message(FATAL_ERROR \"reached the end\")"  # midus as what is being built
      refused "midus needs Eigen 3.4 or newer" "$itself" -DEigen3_DIR="$eigen"
      # Eigen 5 is not refused for its number (PB-01).
      echo 'set(PACKAGE_VERSION 5.0.1)' > "$eigen/Eigen3ConfigVersion.cmake"
      echo 'add_library(Eigen3::Eigen INTERFACE IMPORTED)
        set_target_properties(Eigen3::Eigen PROPERTIES INTERFACE_INCLUDE_DIRECTORIES /usr/include/eigen3)' >> "$eigen/Eigen3Config.cmake"
      refused "reached the end" "find_package(midus REQUIRED)
        message(FATAL_ERROR \"reached the end\")" -DEigen3_DIR="$eigen"
      refused "reached the end" "$itself" -DEigen3_DIR="$eigen"
      # Version 0 is any 0.x; what is asked for more exactly is compared.
      for version in 0 0.1 0.1.0 0.0...1; do
        refused "reached the end" "find_package(midus $version REQUIRED)
          message(FATAL_ERROR \"reached the end\")"
      done
      for version in 1 0.2 0.1.99 0.2...0.9; do refused "$version" "find_package(midus $version REQUIRED)"; done
      # Targets that the project made itself are taken, of a build as well, with no package in sight; their version counts.
      mkdir -p "$work/own/json" "$work/own/old/Eigen/src/Core/util"
      cp -rL /usr/include/nlohmann "$work/own/json/"
      printf '#define EIGEN_WORLD_VERSION 3\n#define EIGEN_MAJOR_VERSION 3\n#define EIGEN_MINOR_VERSION 9\n' \
        > "$work/own/old/Eigen/src/Core/util/Macros.h"
      own() {  # own EIGEN_FOLDER: lines that make the targets as sub-projects do
        printf '%s\n' "add_library(eigen INTERFACE)" \
          "target_include_directories(eigen INTERFACE \$<BUILD_INTERFACE:$1> \$<INSTALL_INTERFACE:include>)" \
          "add_library(Eigen3::Eigen ALIAS eigen)" "add_library(json INTERFACE)" \
          "target_include_directories(json INTERFACE \$<BUILD_INTERFACE:$work/own/json>)" \
          "add_library(nlohmann_json::nlohmann_json ALIAS json)"
      }
      refused "reached the end" "$(own /usr/include/eigen3)
        add_subdirectory(\"$source\" midus)
        midus_add_model(mine CONFIG \"$source/examples/quickstart/base\")
        message(FATAL_ERROR \"reached the end\")" -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON
      refused "reached the end" "$(own /usr/include/eigen3)
        find_package(midus REQUIRED COMPONENTS hf)
        message(FATAL_ERROR \"reached the end\")" -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON
      refused "reached the end" "$(own /usr/include/eigen3)
        add_library(pcre2-8-static INTERFACE)
        target_include_directories(pcre2-8-static INTERFACE \$<BUILD_INTERFACE:/usr/include>)
        add_subdirectory(\"$source\" midus)
        if(TARGET midus::tokenizer)
          message(FATAL_ERROR \"reached the end\")
        endif()" -DMIDUS_PCRE2_LIBRARY=OFF -DMIDUS_PCRE2_INCLUDE_DIR=OFF
      refused "midus needs Eigen 3.4 or newer, found 3.3.9" "$(own "$work/own/old")
        add_subdirectory(\"$source\" midus)"
      refused "midus needs Eigen 3.4 or newer (found: 3.3.9)" "$(own "$work/own/old")
        find_package(midus REQUIRED)"
      # A model that cannot be is refused before anything is compiled.
      mkdir -p "$work/odd"
      sed 's/"num_key_value_heads": [0-9]*/"num_key_value_heads": 0/' "$source/test/configs/odd/config.json" > "$work/odd/config.json"
      refused "num_key_value_heads" "find_package(midus REQUIRED COMPONENTS hf)
        midus_add_model(odd CONFIG \"$work/odd\")" ;;
    *) fail "there is no consumer $consumer" ;;
  esac
done
