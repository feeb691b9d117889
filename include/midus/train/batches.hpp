// Which tokens a training step, or an evaluation, sees.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/random.hpp"
#include "midus/core/shape.hpp"
#include "midus/core/view.hpp"
#include "midus/ops/cross_entropy.hpp"
#include "midus/train/permutation.hpp"
#include "midus/train/token_file.hpp"

namespace midus {

/// A file to train on, and its share of the windows in proportion to the others' weights.
struct DataSource {
  DataSource(TokenFile token_file, double mixing_weight = 1)
      : file(std::move(token_file)), weight(mixing_weight) {}

  TokenFile file;
  double weight;
};

/// How windows are cut and ordered.
struct BatchOptions {
  Index length = 0;        ///< T, tokens that the model reads at once
  std::uint64_t seed = 0;  ///< of the order
  bool shuffle = true;     ///< false: the windows of a file in their order, every epoch
};

/// Where a run stands in its data: windows taken of every file. All that resuming needs.
struct BatchState {
  std::vector<Index> windows;
  bool operator==(const BatchState&) const = default;
};

/// Where a run stands in one file, and how to know the file again. For a training checkpoint.
struct DataPlace {
  std::string path;
  Index tokens = 0;
  std::string sha256;
  Index windows = 0;
  bool operator==(const DataPlace&) const = default;
};

namespace detail {

/// Inputs of one window: tokens begin, ..., begin + count − 1; targets: the token behind each, ignored where
/// its loss weight is 0. What `count` leaves of the rows is padding: id 0, ignored. Returns how many targets
/// count.
inline Index fill_window(const TokenFile& file, Index begin, Index count, std::span<std::int32_t> ids,
                         std::span<std::int32_t> targets) {
  const auto used = static_cast<std::size_t>(count);
  std::fill(ids.begin() + count, ids.end(), 0);
  std::fill(targets.begin() + count, targets.end(), ignored_target);
  if (count == 0) return 0;
  file.read(begin, ids.first(used));
  std::copy(ids.begin() + 1, ids.begin() + count, targets.begin());
  file.read(begin + count, targets.subspan(used - 1, 1));
  Index counted = 0;
  std::array<std::uint8_t, 1024> weights;
  for (std::size_t i = 0; i < used; i += weights.size()) {
    const std::size_t now = std::min(used - i, weights.size());
    file.read_weights(begin + static_cast<Index>(i) + 1, std::span(weights).first(now));
    for (std::size_t j = 0; j < now; ++j) {
      counted += weights[j];
      if (weights[j] == 0) targets[i + j] = ignored_target;
    }
  }
  return counted;
}

/// Throws `Error` where ids and targets have no rows of `length` tokens.
inline void check_windows(const View<std::int32_t, 2>& ids, const View<std::int32_t, 2>& targets,
                          Index length) {
  if (ids.empty() || targets.empty() || !(ids.shape() == targets.shape()) || ids.extent(1) != length)
    fail("batches: expected ids and targets with rows of ", length, " tokens, found ", to_string(ids.shape()),
         " and ", to_string(targets.shape()));
}

inline std::span<std::int32_t> row(const View<std::int32_t, 2>& view, Index b) {
  return {view.row(b), static_cast<std::size_t>(view.extent(1))};
}

}  // namespace detail

/// Training batches without end. A file of N tokens has ⌊(N − 1) / T⌋ windows; window j reads tokens jT, ...,
/// jT + T − 1 and predicts jT + 1, ..., jT + T, so neighbours share one token and every token is a target
/// once (the first of a file and the remainder behind the last window are none). An epoch of a file is all
/// its windows; shuffled, each epoch has its own order, keyed by seed, the file's place in the list and the
/// epoch. Of several files the next window comes from the one that is furthest behind its share (the first of
/// equals), in exact arithmetic: after c windows a file lies within a window or so of its share, however long
/// the run. A window may begin inside a document and hold several: attention crosses their borders.
class Batches {
 public:
  Batches(std::vector<DataSource> sources, const BatchOptions& options)
      : sources_(std::move(sources)), options_(options) {
    if (sources_.empty()) fail("batches: expected at least one token file");
    if (options_.length < 1) fail("batches: the length must be at least 1, found ", options_.length);
    double sum = 0;
    for (const DataSource& source : sources_) {
      const TokenFile& file = source.file;
      if (file.size() <= options_.length)
        fail("token file ", file.path().string(), " has ", file.size(), " tokens; a window of length ",
             options_.length, " needs at least ", static_cast<std::uint64_t>(options_.length) + 1);
      file_needs_same_tokenizer(file);
      if (!(source.weight > 0) || !std::isfinite(source.weight))
        fail("token file ", file.path().string(), ": its weight must be above 0, found ", source.weight);
      if (!any_target_counts(file))
        fail("token file ", file.path().string(),
             ": no target counts (all loss weights of its windows are 0), so there is nothing to learn from "
             "it");
      sum += source.weight;
    }
    for (const DataSource& source : sources_) {
      // Shares as whole numbers: sums of fractions would drift apart over a long run.
      const double share = std::round(source.weight / sum * 0x1p32);
      if (!(share >= 1))
        fail("token file ", source.file.path().string(), ": its weight ", source.weight,
             " is too small beside the others' (", sum, " in all)");
      shares_.push_back(static_cast<std::uint64_t>(share));
      total_ += shares_.back();
    }
    state_.windows.assign(sources_.size(), 0);
  }
  Batches(TokenFile file, const BatchOptions& options)
      : Batches(std::vector<DataSource>{DataSource(std::move(file))}, options) {}

  Index length() const { return options_.length; }
  Index vocabulary() const { return sources_.front().file.vocabulary(); }
  const std::vector<DataSource>& sources() const { return sources_; }

  /// Windows of file `source` in an epoch.
  Index windows(std::size_t source) const { return (sources_[source].file.size() - 1) / options_.length; }
  /// Epochs of file `source` done so far, with the fraction.
  double epochs(std::size_t source) const {
    return static_cast<double>(state_.windows[source]) / static_cast<double>(windows(source));
  }

  /// Fills the next batch, ids [B,T] and targets [B,T]; targets are `ignored_target` where the loss weight is
  /// 0. Allocates nothing. Returns how many targets count.
  Index next(View<std::int32_t, 2> ids, View<std::int32_t, 2> targets) {
    detail::check_windows(ids, targets, options_.length);
    Index counted = 0;
    for (Index b = 0; b < ids.extent(0); ++b) {
      const std::size_t source = next_source();
      counted += detail::fill_window(sources_[source].file, next_window(source) * options_.length,
                                     options_.length, detail::row(ids, b), detail::row(targets, b));
      ++state_.windows[source];
      ++taken_;
    }
    return counted;
  }

  /// The place in the data, as counters alone.
  const BatchState& state() const { return state_; }
  /// More windows of a file than any run takes: what the counters' arithmetic has room for.
  static constexpr Index most_windows = Index{1} << 52;
  /// Goes on from a saved place: the batches that follow are those that would have followed then.
  void restore(const BatchState& state) {
    if (state.windows.size() != sources_.size())
      fail("batches: the saved place is one in ", state.windows.size(), " files, found ", sources_.size());
    for (const Index windows : state.windows)
      if (windows < 0 || windows > most_windows)
        fail("batches: the saved place is damaged: expected 0 to ", most_windows,
             " windows of a file, found ", windows);
    state_ = state;
    taken_ = 0;
    for (const Index windows : state.windows) taken_ += windows;
  }

  /// The place in the data with what identifies each file (this reads the files once).
  std::vector<DataPlace> places() const {
    std::vector<DataPlace> places;
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      const TokenFile& file = sources_[i].file;
      places.push_back({file.path().string(), file.size(), to_hex(file.sha256()), state_.windows[i]});
    }
    return places;
  }
  /// `restore`, after a check that every file is the one that was recorded, wherever it lies now.
  void restore(const std::vector<DataPlace>& places) {
    BatchState state;
    for (const DataPlace& place : places) state.windows.push_back(place.windows);
    for (std::size_t i = 0; i < std::min(places.size(), sources_.size()); ++i) {
      const TokenFile& file = sources_[i].file;
      if (file.size() != places[i].tokens)
        fail("token file ", file.path().string(), " has ", file.size(),
             " tokens; the checkpoint was trained on ", places[i].path, " with ", places[i].tokens);
      if (to_hex(file.sha256()) != places[i].sha256)
        fail("token file ", file.path().string(), " differs from ", places[i].path,
             ", which the checkpoint was trained on: expected SHA-256 ", places[i].sha256, ", found ",
             to_hex(file.sha256()));
    }
    restore(state);
  }

 private:
  /// So that whoever passes over windows without a counted target comes to one with.
  bool any_target_counts(const TokenFile& file) const {
    const Index last = (file.size() - 1) / options_.length * options_.length;
    std::array<std::uint8_t, 4096> weights;
    for (Index token = 1; token <= last;) {
      const Index now = std::min(last + 1 - token, static_cast<Index>(weights.size()));
      const auto part = std::span(weights).first(static_cast<std::size_t>(now));
      file.read_weights(token, part);
      if (std::find(part.begin(), part.end(), 1) != part.end()) return true;
      token += now;
    }
    return false;
  }

  void file_needs_same_tokenizer(const TokenFile& file) const {
    const TokenFileHeader &first = sources_.front().file.header(), &other = file.header();
    if (first.vocabulary != other.vocabulary || first.tokenizer != other.tokenizer)
      fail("token files ", sources_.front().file.path().string(), " (vocabulary ", first.vocabulary, ") and ",
           file.path().string(), " (vocabulary ", other.vocabulary, ") come from different tokenizers");
  }

  std::size_t next_source() const {
    // share · (taken + 1) − taken_i · total is exact modulo 2^64, and small: at most a few times the total.
    const auto deficit = [&](std::size_t i) {
      return static_cast<std::int64_t>(shares_[i] * static_cast<std::uint64_t>(taken_ + 1) -
                                       static_cast<std::uint64_t>(state_.windows[i]) * total_);
    };
    std::size_t best = 0;
    for (std::size_t i = 1; i < shares_.size(); ++i)
      if (deficit(i) > deficit(best)) best = i;
    return best;
  }

  Index next_window(std::size_t source) const {
    const Index count = windows(source), epoch = state_.windows[source] / count,
                place = state_.windows[source] % count;
    if (!options_.shuffle) return place;
    const std::uint64_t file_key = Random(options_.seed, "batches.file").bits(static_cast<Index>(source));
    return Permutation(count, Random(file_key, "batches.epoch").bits(epoch))(place);
  }

  std::vector<DataSource> sources_;
  BatchOptions options_;
  std::vector<std::uint64_t> shares_;  // of total_
  std::uint64_t total_ = 0;
  BatchState state_;
  Index taken_ = 0;  // sum of state_.windows
};

/// A file from its beginning to its end, for evaluation. Windows follow one another as in `Batches`, in
/// order, the last one shorter: every token but the first, which nothing precedes, is scored exactly once,
/// with the context that its window holds before it. Average over *counted targets*, not over windows or
/// batches.
class EvaluationBatches {
 public:
  /// `limit`: only so many of the file's first tokens are predicted; 0: all.
  EvaluationBatches(TokenFile file, Index length, Index limit = 0) : file_(std::move(file)), length_(length) {
    if (length < 1) fail("evaluation: the length must be at least 1, found ", length);
    if (limit < 0) fail("evaluation: the limit must be at least 0, found ", limit);
    if (file_.size() < 2)
      fail("token file ", file_.path().string(), " has ", file_.size(),
           " tokens; an evaluation needs at least 2 (one to read, one to predict)");
    predicted_ = limit > 0 ? std::min(limit, file_.size() - 1) : file_.size() - 1;
  }

  const TokenFile& file() const { return file_; }
  Index length() const { return length_; }
  /// The tokens of the file that are predicted, which follow its first one.
  Index predicted() const { return predicted_; }
  /// Bits for each byte of the text, where the mean loss is so many nats; nothing where the file does not
  /// know its text's bytes, or a limit leaves a part of them out, and nobody knows how many.
  std::optional<double> bits_per_byte(double loss) const {
    const std::optional<double> tokens = file_.tokens_per_byte();
    if (!tokens || (predicted_ < file_.size() - 1 && !file_.tokens_are_bytes())) return std::nullopt;
    return loss / std::numbers::ln2 * *tokens;
  }
  Index windows() const { return (predicted_ - 1) / length_ + 1; }
  /// Windows of a batch where `wanted` are: no more than there are. Throws `Error` where it is below 1.
  Index rows(Index wanted) const {
    if (wanted < 1) fail("evaluation: the windows of a batch must be at least 1, found ", wanted);
    return std::min(wanted, windows());
  }
  /// Batches of `rows` windows.
  Index batches(Index rows) const { return (windows() - 1) / rows + 1; }

  /// Fills batch `batch` of B windows, ids [B,T] and targets [B,T]. Padding, behind the end of the file, has
  /// id 0 and an ignored target. Returns how many targets count.
  Index fill(Index batch, View<std::int32_t, 2> ids, View<std::int32_t, 2> targets) const {
    detail::check_windows(ids, targets, length_);
    if (batch < 0) fail("evaluation: expected a batch from 0 on, found ", batch);
    const Index rows = ids.extent(0);
    Index counted = 0;
    for (Index b = 0; b < rows; ++b) {
      const Index begin = std::min((batch * rows + b) * length_, predicted_);
      counted += detail::fill_window(file_, begin, std::min(length_, predicted_ - begin), detail::row(ids, b),
                                     detail::row(targets, b));
    }
    return counted;
  }

 private:
  TokenFile file_;
  Index length_, predicted_ = 0;
};

}  // namespace midus
