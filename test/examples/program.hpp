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

/// Runs PROGRAM with arguments (shell words) in a directory, and then what `after` says to the shell.
inline ProgramResult run_in(const TemporaryDirectory& directory, const std::string& program,
                            const std::string& arguments, const std::string& after = "") {
  const std::string command = "cd '" + directory.path().string() + "' && { '" + program + "' " + arguments +
                              " > stdout.log 2> stderr.log " + (after.empty() ? ";" : after) + " }";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, file_bytes(directory / "stdout.log"),
          file_bytes(directory / "stderr.log")};
}

/// Runs PROGRAM, and sends it SIGTERM once there is a file of this form (`*` and `?`) in the directory.
inline ProgramResult terminate_in(const TemporaryDirectory& directory, const std::string& program,
                                  const std::string& arguments, const std::string& appears) {
  return run_in(directory, program, arguments,
                "& pid=$!; until ls -d " + appears +
                    " > ls.log 2>&1 || ! kill -0 $pid; do sleep 0.05; done; kill -TERM $pid; wait $pid;");
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace midus::test
