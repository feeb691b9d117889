// Compares two models by their logits: for each, the program `logits` is built for its shape and run.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <iostream>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "midus/core/random.hpp"
#include "midus/io/atomic_file.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/llama_config_reader.hpp"
#include "midus/io/safetensors.hpp"
#include "midus/io/tensor_convert.hpp"
#include "midus/train/interrupt.hpp"

/// The logits of models, for the same fixed random tokens.
class LogitsCheck {
 public:
  /// `build_for`: examples/build_for.sh. The tokens fit every model with the vocabulary of `config`. `logits`
  /// fails once `interrupt` is requested.
  LogitsCheck(std::filesystem::path build_for, const midus::LlamaConfig& config,
              const midus::Interrupt& interrupt)
      : build_for_(std::move(build_for)), interrupt_(interrupt) {
    if (!midus::may_exist(build_for_))
      midus::fail("cannot check the logits: there is no ", build_for_.string(),
                  " to build programs with; name it with --build-for, or write without a check (--no-check)");
    std::error_code error;
    const std::filesystem::path temporary = std::filesystem::temp_directory_path(error);
    if (error)
      midus::fail("cannot check the logits: TMPDIR, or /tmp, is no directory to write to (", error.message(),
                  "); set TMPDIR, or write without a check (--no-check)");
    std::string name = (temporary / "midus-upscale-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      midus::fail("cannot make the temporary directory ", name, ": ", midus::system_message(errno));
    folder_ = name;
    const midus::Random random(0, "upscale.check");
    const midus::Index length = std::min<midus::Index>(32, config.max_position_embeddings);
    midus::Json ids = midus::Json::array();
    for (midus::Index b = 0; b < 2; ++b) {
      midus::Json row = midus::Json::array();
      for (midus::Index t = 0; t < length; ++t)
        row.push_back(random.below(b * length + t, static_cast<std::uint64_t>(config.vocab_size)));
      ids.push_back(std::move(row));
    }
    midus::write_file(folder_ / "ids.json", ids.dump());
  }
  LogitsCheck(const LogitsCheck&) = delete;
  LogitsCheck& operator=(const LogitsCheck&) = delete;
  ~LogitsCheck() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  /// The logits of the model in a directory, flat.
  std::vector<double> logits(const std::filesystem::path& model) const {
    const std::string output =
        run("bash " + midus::shell_quoted(build_for_.string()) + " " + midus::shell_quoted(model.string()));
    const std::filesystem::path program = std::filesystem::path(last_line(output)) / "logits";
    const std::filesystem::path out = folder_ / "logits.safetensors";
    run(midus::shell_quoted(program.string()) + " " + midus::shell_quoted(model.string()) + " --ids " +
        midus::shell_quoted((folder_ / "ids.json").string()) + " --out " + midus::shell_quoted(out.string()));
    const midus::SafetensorsFile file(out);
    const midus::StoredTensor& tensor = file.at("logits");
    std::vector<double> values(tensor.bytes.size() * 8 /
                               static_cast<std::size_t>(midus::info(tensor.dtype).bits));
    midus::read_weights(tensor.dtype, tensor.bytes, std::span(values));
    std::error_code ignored;
    std::filesystem::remove(out, ignored);
    return values;
  }

 private:
  static std::string last_line(std::string output) {
    while (!output.empty() && output.back() == '\n') output.pop_back();
    return output.substr(output.rfind('\n') + 1);
  }

  /// Standard output of a command; what it says on standard error goes to the user. A signal that ends this
  /// program ends the command and all that it has started.
  std::string run(const std::string& command) const {
    std::cout.flush();
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) midus::fail("cannot run ", command);
    const pid_t child = ::fork();
    if (child == 0) {
      ::setpgid(0, 0);
      ::dup2(ends[1], STDOUT_FILENO);
      ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::close(ends[1]);
    if (child < 0) {
      ::close(ends[0]);
      midus::fail("cannot run ", command);
    }
    ::setpgid(child, child);  // here too: whoever comes first
    std::string output;
    std::array<char, 4096> part;
    for (bool told = false;;) {
      if (interrupt_.requested() && !told) told = ::kill(-child, SIGTERM) == 0;
      struct pollfd readable {
        .fd = ends[0], .events = POLLIN, .revents = 0
      };
      if (::poll(&readable, 1, 200) <= 0) continue;  // looks for a signal again
      const ssize_t count = ::read(ends[0], part.data(), part.size());
      if (count > 0)
        output.append(part.data(), static_cast<std::size_t>(count));
      else if (count == 0 || errno != EINTR)
        break;
    }
    ::close(ends[0]);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (interrupt_.requested()) midus::fail("interrupted");
    if (status != 0)
      midus::fail("the logits cannot be compared: this command failed (status ",
                  WIFEXITED(status) ? WEXITSTATUS(status) : status, "), and nothing was written: ", command,
                  "\n", output, "To write without comparing: --no-check");
    return output;
  }

  std::filesystem::path build_for_, folder_;
  const midus::Interrupt& interrupt_;
};

/// How far two models are apart.
struct LogitsDifference {
  std::size_t count = 0, differing = 0;  ///< of logits; −0 = +0
  double largest = 0;                    ///< NaN where one is not a number
};

inline LogitsDifference compare_logits(const std::vector<double>& left, const std::vector<double>& right) {
  if (left.size() != right.size())
    midus::fail("the models have ", left.size(), " and ", right.size(), " logits for the same tokens");
  LogitsDifference difference;
  difference.count = left.size();
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i] == right[i]) continue;
    ++difference.differing;
    const double distance = std::fabs(left[i] - right[i]);
    if (!(distance <= difference.largest)) difference.largest = distance;
  }
  return difference;
}
