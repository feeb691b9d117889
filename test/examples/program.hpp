// Runs a program as a user does.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "support/files.hpp"

namespace midus::test {

/// What a program left behind.
struct ProgramResult {
  int status;
  std::string out, error;
};

/// Runs PROGRAM with arguments (shell words) in a directory.
inline ProgramResult run_in(const TemporaryDirectory& directory, const std::string& program,
                            const std::string& arguments) {
  const std::string command = "cd '" + directory.path().string() + "' && '" + program + "' " + arguments +
                              " > stdout.log 2> stderr.log";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, file_bytes(directory / "stdout.log"),
          file_bytes(directory / "stderr.log")};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace midus::test
