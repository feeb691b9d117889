// What all programs share: reading the command line, and telling of errors.
#pragma once

#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "midus/core/dtype.hpp"
#include "midus/core/error.hpp"
#include "midus/io/atomic_file.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/train/step_record.hpp"

namespace command_line {

/// The option that a word names, as "--batch" and "--batch=4" do.
inline const CLI::Option* option_of(const CLI::App& app, const std::string& word) {
  if (!word.starts_with("--") || word.size() < 3) return nullptr;
  return app.get_option_no_throw(word.substr(0, word.find('=')));
}

/// The words in the order in which CLI11 takes them, the last one first. Throws where an option stands where
/// the value of another is expected: CLI11 would take its name for that value. `--name=` has an empty value.
inline std::vector<std::string> words_of(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--") {
      words.insert(words.end(), argv + i, argv + argc);
      break;
    }
    const CLI::Option* const option = option_of(app, word);
    const std::size_t equals = word.find('=');
    const bool empty = equals + 1 == word.size(), in_next = equals == word.npos && i + 1 < argc;
    if (option == nullptr || option->get_items_expected_max() == 0 || !(empty || in_next)) {
      words.push_back(word);
      continue;
    }
    const std::string name = word.substr(0, equals), value = in_next ? argv[++i] : "";
    if (option_of(app, value) != nullptr)
      midus::fail(name, ": expected a value, found the option ", value, "; if that is the value, write ",
                  name, "=", value);
    words.insert(words.end(), {name, value});
  }
  std::reverse(words.begin(), words.end());
  return words;
}

template <class T>
struct NumberIn {
  using Type = T;
};
template <class T>
struct NumberIn<std::optional<T>> {
  using Type = T;
};
template <class T>
struct NumberIn<std::vector<T>> {
  using Type = T;
};

/// "an integer of at least 1", "a number from 0 to 1".
template <class Number>
std::string expected_number(Number low, Number high) {
  using Limits = std::numeric_limits<Number>;
  const auto shown = [](Number value) {
    std::array<char, 32> digits;  // as many as give the same bits back
    return std::string(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
  };
  const std::string what = std::is_integral_v<Number> ? "an integer" : "a number";
  if (std::is_unsigned_v<Number> && high == Limits::max())
    return what + " from " + shown(low) + " to 2^64 - 1";
  if (high < Limits::max()) return what + " from " + shown(low) + " to " + shown(high);
  return low > Limits::lowest() ? what + " of at least " + shown(low) : what;
}

/// A number in decimal digits that fills the whole text.
template <class Number>
Number read_number(const std::string& name, std::string_view given, Number low, Number high) {
  Number value{};
  const bool number = given.find_first_of("xX") == given.npos && midus::detail::read_number(given, value);
  if (!number || !(value >= low && value <= high))  // refuses NaN
    midus::fail(name, " must be ", expected_number(low, high), ", found ", midus::in_quotes(given));
  return value;
}

/// The parts between commas; an empty one is a part too.
inline std::vector<std::string> split_list(const std::string& given) {
  std::vector<std::string> parts(1);
  for (const char c : given)
    if (c == ',')
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

}  // namespace command_line

/// An option whose value is a number, an optional one, or a list such as 1,3. (CLI11 reads 010 as 8, an empty
/// text as 0, and −1 as the largest unsigned number.)
template <class Value, class Number = typename command_line::NumberIn<Value>::Type>
CLI::Option* add_number(CLI::App& app, const std::string& name, Value& value, const std::string& help,
                        std::type_identity_t<Number> low = std::numeric_limits<Number>::lowest(),
                        std::type_identity_t<Number> high = std::numeric_limits<Number>::max()) {
  constexpr bool list = std::is_same_v<Value, std::vector<Number>>;
  const std::string type = std::is_integral_v<Number> ? "INTEGER" : "NUMBER";
  CLI::Option* const option = app.add_option_function<std::string>(
      name,
      [&value, name, low, high](const std::string& given) {
        if constexpr (list) {
          value.clear();
          for (const std::string& part : command_line::split_list(given))
            value.push_back(command_line::read_number<Number>(name, part, low, high));
        } else {
          value = command_line::read_number<Number>(name, given, low, high);
        }
      },
      help);
  option->type_name(list ? type + "," + type + ",..." : type);
  if constexpr (std::is_same_v<Value, Number>) option->default_str(midus::text(value));
  return option;
}

/// An option whose value is a list of texts, such as a,b.
inline CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<std::string>& values,
                             const std::string& help) {
  std::string shown;
  for (const std::string& value : values) shown += (shown.empty() ? "" : ",") + value;
  return app
      .add_option_function<std::string>(
          name, [&values](const std::string& given) { values = command_line::split_list(given); }, help)
      ->type_name("TEXT,TEXT,...")
      ->default_str(shown);
}

/// An option whose value is one of the types that weights are stored as, by PyTorch's name for it or the
/// short one.
template <class Value>  // a Dtype or an optional one
CLI::Option* add_dtype(CLI::App& app, const std::string& name, Value& value, const std::string& help,
                       std::vector<midus::Dtype> allowed = {midus::Dtype::f64, midus::Dtype::f32,
                                                            midus::Dtype::f16, midus::Dtype::bf16}) {
  struct Names {
    midus::Dtype dtype;
    std::string_view name, short_name;
  };
  static constexpr std::array<Names, 4> names{{{midus::Dtype::f64, "float64", "f64"},
                                               {midus::Dtype::f32, "float32", "f32"},
                                               {midus::Dtype::f16, "float16", "f16"},
                                               {midus::Dtype::bf16, "bfloat16", "bf16"}}};
  std::string expected, usual;
  for (const Names& each : names) {
    if (std::ranges::find(allowed, each.dtype) == allowed.end()) continue;
    expected.append(expected.empty() ? "" : ",").append(each.name);
    if (value == each.dtype) usual = each.name;
  }
  return app
      .add_option_function<std::string>(
          name,
          [&value, name, allowed, expected](const std::string& given) {
            for (const Names& each : names)
              if ((given == each.name || given == each.short_name) &&
                  std::ranges::find(allowed, each.dtype) != allowed.end()) {
                value = each.dtype;
                return;
              }
            midus::fail(name, " must be one of ", expected, ", found ", midus::in_quotes(given));
          },
          help)
      ->type_name("{" + expected + "}")
      ->default_str(usual);
}

namespace command_line {

/// Gives descriptors 0 to 2 to /dev/null where they are closed, the wrong way round, so that using them stays
/// an error: else the next file that is opened gets the number, and what is printed.
inline void occupy_standard_descriptors() {
  for (int standard = 0; standard <= 2; ++standard)
    if (::fcntl(standard, F_GETFD) < 0) ::open("/dev/null", standard == 0 ? O_WRONLY : O_RDONLY);
}

/// Whether standard output has taken all that was printed; says so where it has not.
inline bool all_is_printed(const CLI::App& app) {
  errno = 0;
  std::cout.flush();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout) return true;
  std::fprintf(stderr, "%s: cannot write to standard output: %s\n", app.get_name().c_str(),
               errno == 0 ? "what was written is not all there" : midus::system_message(errno).c_str());
  return false;
}

template <class Work>
int parse_and_run(CLI::App& app, int argc, char** argv, Work&& work, int trouble) {
  std::string greedy;
  for (const CLI::Option* option : app.get_options()) {
    assert(option->get_type_name() != "INT" && option->get_type_name() != "UINT" &&
           option->get_type_name() != "FLOAT" && "numbers are read by add_number");
    if (option->get_items_expected_max() > 1 && !option->get_positional())
      greedy += (greedy.empty() ? "" : ", ") + option->get_name();
  }
  if (!greedy.empty())
    app.footer("All words up to the next option or -- belong to " + greedy + ": give directories first.");
  try {
    app.parse(command_line::words_of(app, argc, argv));
    return work();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::string what = error.what(), unexpected;
    for (const std::string& word : app.remaining()) unexpected += " " + word;
    const bool required = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
    if (!unexpected.empty())  // CLI11 lists them backwards, and says first what is missing
      what = "not expected:" + unexpected + (required ? "; and " + what : "");
    else if (required && !greedy.empty())
      what += "; all words up to the next option or -- belong to " + greedy + ": give directories first";
    std::fprintf(stderr, "%s: %s\nRun with --help for more information.\n", app.get_name().c_str(),
                 what.c_str());
    return trouble;
  } catch (const std::exception& error) {
    std::cout.flush();
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), midus::sentence_of(error).c_str());
    return trouble;
  }
}

}  // namespace command_line

/// Parses the command line and does the work. Returns what that returns, or `trouble` with a sentence on
/// standard error, also where standard output could not take what was printed.
template <class Work>
int run_program(CLI::App& app, int argc, char** argv, Work&& work, int trouble = 1) {
  command_line::occupy_standard_descriptors();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of the write
  const int status = command_line::parse_and_run(app, argc, argv, std::forward<Work>(work), trouble);
  return command_line::all_is_printed(app) ? status : trouble;
}

/// `--threads`.
inline void add_threads(CLI::App& app, int& threads) {
  add_number(app, "--threads", threads, "0: all processors; the results are the same for any number", 0, 512);
}

/// `--store`.
inline void add_store(CLI::App& app, midus::Dtype& store) {
  add_dtype(app, "--store", store, "Keep the weights as this type; bfloat16 rounds them",
            {midus::Dtype::f32, midus::Dtype::bf16});
}

/// `--seed`.
inline void add_seed(CLI::App& app, std::uint64_t& seed, const std::string& help) {
  add_number(app, "--seed", seed, help);
}

/// A file that a program writes at its end, and the option that names it; the path is empty where none is
/// wanted.
struct OutputFile {
  std::string option;
  std::filesystem::path path;
};

/// Throws, before any work is done, where an output cannot be written, or would replace one of the inputs, a
/// file of a model among them, or another output.
inline void check_outputs(const std::vector<OutputFile>& outputs,
                          const std::vector<std::filesystem::path>& inputs) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const auto same = [&](const fs::path& a, const fs::path& b) {
    return fs::equivalent(a, b, ignored) || midus::resolved(a) == midus::resolved(b);
  };
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto& [option, path] = outputs[i];
    if (path.empty()) continue;
    const midus::AtomicFile writable(path);  // which is given up again
    const std::string name = path.filename().string();
    const bool model_file = name == "config.json" || name == "tokenizer.json" ||
                            name == "tokenizer_config.json" || name.find(".safetensors") != name.npos;
    for (const fs::path& input : inputs)
      if (!input.empty() && (same(path, input) || (model_file && same(midus::directory_of(path), input))))
        midus::fail(option, " ", path.string(), " would replace what the program reads; choose another name");
    for (std::size_t j = 0; j < i; ++j)
      if (!outputs[j].path.empty() && same(path, outputs[j].path))
        midus::fail(option, " and ", outputs[j].option, " name the same file, ", path.string());
  }
}
