// What lies in a model's directory beside config.json and weights, and when such a directory may be replaced.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/visit.hpp"
#include "midus/io/atomic_file.hpp"
#include "midus/io/checkpoint_files.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/io/python_files.hpp"

namespace midus {

/// A tokenizer's named chat templates, as transformers writes them: the one folder that goes with a model.
inline constexpr std::string_view chat_templates_name = "additional_chat_templates";

namespace detail {

/// Calls `visit(entry, name)` for what a model's directory holds, `name` being the path in it; in place of
/// the chat templates' folder, for what lies in that.
template <class Visit>
void visit_model_directory(const std::filesystem::path& directory, Visit&& visit,
                           const std::filesystem::path& folder = {}) {
  std::error_code error;
  std::filesystem::directory_iterator entry(directory / folder, error), last;
  for (; !error && entry != last; entry.increment(error)) {
    const std::filesystem::path name = folder / entry->path().filename();
    std::error_code none;
    if (name == chat_templates_name && entry->is_directory(none))
      visit_model_directory(directory, visit, name);
    else
      visit(*entry, name);
  }
  if (error) fail("cannot read ", (directory / folder).string(), ": ", error.message());
}

/// What midus writes anew for a model, and an adapter's settings: without its weights they are of no use.
inline bool is_written_anew(const std::filesystem::path& name) {
  return name == "config.json" || name == "trainer.json" || name.string().ends_with(".index.json") ||
         name == configuration_midus_name || name == modeling_midus_name || name == adapter_config_name;
}

/// A file beside config.json and weights that is of the kinds that such directories have, so that weights in
/// other formats, and what else may lie beside a config.json, stay where they are.
inline bool is_of_a_model_kind(const std::filesystem::directory_entry& entry,
                               const std::filesystem::path& name) {
  static const std::set<std::string> kinds{"",       ".json", ".jinja",    ".md",
                                           ".model", ".py",   ".tiktoken", ".txt"};
  std::error_code error;
  return !is_written_anew(name) && entry.is_regular_file(error) &&
         (name.has_parent_path() ? name.extension() == ".jinja" : kinds.contains(name.extension().string()));
}

/// Whether the file goes along where another model is made of the directory's.
inline bool goes_with_the_model(const std::filesystem::directory_entry& entry,
                                const std::filesystem::path& name) {
  constexpr std::uintmax_t largest = std::uintmax_t{64} << 20;
  return is_of_a_model_kind(entry, name) && entry.file_size() <= largest;
}

/// "a, b/, c": four names at most, and how many more there are.
inline std::string some_of(const std::set<std::string>& names) {
  std::string out;
  std::size_t count = 0;
  for (const std::string& name : names)
    if (++count <= 4) out += (out.empty() ? "" : ", ") + name;
  return out + (count > 4 ? text(" and ", count - 4, " more") : "");
}

}  // namespace detail

/// What a model directory holds beside config.json and weights and goes with a model that is made of it
/// (tokenizer files, generation config, chat templates, code): names in it, and bytes. `what_stays_behind`
/// names the rest.
using OtherFiles = std::vector<std::pair<std::filesystem::path, std::string>>;

inline OtherFiles read_other_files(const std::filesystem::path& directory) {
  OtherFiles files;
  detail::visit_model_directory(directory, [&](const auto& entry, const std::filesystem::path& name) {
    if (detail::goes_with_the_model(entry, name)) files.emplace_back(name, MappedFile(entry.path()).text());
  });
  return files;
}

inline void write_other_files(const OtherFiles& files, const std::filesystem::path& to) {
  for (const auto& [name, bytes] : files) {
    if (name.has_parent_path()) make_directories(to / name.parent_path());
    write_file(to / name, bytes);
  }
}

/// What of a model's directory does not go along where another model is made of it, as a sentence; "" where
/// all does. Weights, training state and hidden files are not meant.
inline std::string what_stays_behind(const std::filesystem::path& directory) {
  std::set<std::string> names;
  detail::visit_model_directory(directory, [&](const auto& entry, const std::filesystem::path& name) {
    std::error_code error;
    if (detail::goes_with_the_model(entry, name) || detail::is_written_anew(name) ||
        name.extension() == ".safetensors" || name.string().starts_with('.'))
      return;
    names.insert(name.string() + (entry.is_directory(error)                 ? "/"
                                  : detail::is_of_a_model_kind(entry, name) ? " (more than 64 MiB)"
                                                                            : ""));
  });
  if (names.empty()) return "";
  return text(directory.string(), ": not copied to the new model: ", detail::some_of(names));
}

namespace detail {

/// The files that midus and transformers write for a model, and those that the Hub's models come with.
inline bool is_model_file(std::string_view name) {
  static constexpr std::string_view forms[] = {"config.json",
                                               "generation_config.json",
                                               "model.safetensors",
                                               "model-*-of-*.safetensors",
                                               "model.safetensors.index.json",
                                               "tokenizer.json",
                                               "tokenizer_config.json",
                                               "tokenizer.model",
                                               "special_tokens_map.json",
                                               "added_tokens.json",
                                               "vocab.json",
                                               "merges.txt",
                                               "chat_template.json",
                                               "chat_template.jinja",
                                               "additional_chat_templates/*.jinja",
                                               "configuration_*.py",
                                               "modeling_*.py",
                                               "tokenization_*.py",
                                               "README.md",
                                               "LICENSE",
                                               "LICENSE.txt",
                                               "USE_POLICY.md",
                                               ".gitattributes"};
  return std::any_of(std::begin(forms), std::end(forms),
                     [&](std::string_view form) { return matches(form, name); });
}

/// Whether both are files, of the same bytes.
inline bool same_bytes(const std::filesystem::path& left, const std::filesystem::path& right) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(left, error) || !std::filesystem::is_regular_file(right, error) ||
      std::filesystem::file_size(left, error) != std::filesystem::file_size(right, error))
    return false;
  const MappedFile a(left), b(right);
  return std::equal(a.bytes().begin(), a.bytes().end(), b.bytes().begin(), b.bytes().end());
}

/// "notes.txt, runs/": what would be lost beside a model where one that is made of `from` takes the
/// directory's place, four names at most. What it got from `from` it gets again.
inline std::string foreign_files(const std::filesystem::path& directory, const std::filesystem::path& from) {
  std::set<std::string> names;
  visit_model_directory(directory, [&](const auto& entry, const std::filesystem::path& name) {
    std::error_code error;
    const bool comes_again =
        !from.empty() && goes_with_the_model(entry, name) && same_bytes(entry.path(), from / name);
    if (entry.is_directory(error))
      names.insert(name.string() + "/");
    else if (!is_model_file(name.string()) && !comes_again)
      names.insert(name.string());
  });
  return some_of(names);
}

}  // namespace detail

/// Why a new model must not take the place of what is at `directory`, as a sentence: it is no model, or holds
/// more than one. "" where it may. `from`: the model that the new one comes from, or empty.
inline std::string why_not_replace(const std::filesystem::path& directory,
                                   const std::filesystem::path& from) {
  const std::filesystem::path target = resolved(directory);
  if (is_vacant(target)) return "";
  std::error_code error;
  if (!std::filesystem::exists(target / "config.json", error))
    return directory.string() +
           " holds no config.json, so it is not a model that may be replaced; remove it yourself";
  const std::string lost = detail::foreign_files(target, from);
  if (lost.empty()) return "";
  return text(directory.string(), " holds more than a model; replacing it would remove ", lost,
              ": move that away, or choose another name");
}

/// Why a program must not write the model `out` that it makes from `from` (a model's directory, or its
/// config.json), as a sentence: it would harm `from`, or `out` exists and must not be replaced. "" where it
/// may.
inline std::string why_not_write(const std::filesystem::path& from, const std::filesystem::path& out,
                                 bool force) {
  const std::filesystem::path source = resolved(from), target = resolved(out);
  for (std::filesystem::path at = source; at != at.parent_path(); at = at.parent_path())
    if (at == target)
      return text(out.string(), " ", at == source ? "is" : "holds", " ", from.string(),
                  " itself; choose another name");
  if (!force && !is_vacant(target))
    return out.string() + " exists already; choose another name, or replace it with --force";
  std::error_code error;
  return why_not_replace(out, std::filesystem::is_directory(source, error) ? source : source.parent_path());
}

/// Throws `Error` where a program must not write the model `out` (`why_not_write`).
inline void check_target(const std::filesystem::path& from, const std::filesystem::path& out, bool force) {
  if (const std::string reason = why_not_write(from, out, force); !reason.empty()) fail(reason);
}

}  // namespace midus
