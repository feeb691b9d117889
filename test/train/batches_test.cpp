#include "midus/train/batches.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <numbers>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::message_of;
using midus::test::TemporaryDirectory;

namespace {

constexpr Index any_vocabulary = 1000000;

/// A file of the tokens first, first + 1, ...
TokenFile counting_file(const std::filesystem::path& path, Index tokens, std::int32_t first = 0) {
  TokenWriter writer(path, {.vocabulary = any_vocabulary});
  for (Index i = 0; i < tokens; ++i) {
    const std::int32_t id[] = {first + static_cast<std::int32_t>(i)};
    writer.append(id);
  }
  writer.commit();
  return TokenFile(path);
}

struct Filled {
  std::vector<std::int32_t> ids, targets;
  Index counted = 0;
  bool operator==(const Filled&) const = default;
};

Filled filled(Index rows, Index length, auto&& fill) {
  // Old values everywhere: what is not written shows.
  Filled batch{std::vector<std::int32_t>(static_cast<std::size_t>(rows * length), -7), {}, 0};
  batch.targets = batch.ids;
  const Shape<2> shape{{rows, length}};
  batch.counted = fill(View<std::int32_t, 2>(batch.ids.data(), shape),
                       View<std::int32_t, 2>(batch.targets.data(), shape));
  return batch;
}

Filled next(Batches& batches, Index rows) {
  return filled(rows, batches.length(), [&](auto ids, auto targets) { return batches.next(ids, targets); });
}

Filled evaluation_batch(const EvaluationBatches& batches, Index batch, Index rows) {
  return filled(rows, batches.length(),
                [&](auto ids, auto targets) { return batches.fill(batch, ids, targets); });
}

}  // namespace

TEST_CASE("Batches: a window is T inputs and the T tokens behind them") {
  const TemporaryDirectory directory;
  Batches batches(counting_file(directory / "a", 12, 100), {.length = 4, .shuffle = false});
  CHECK(batches.windows(0) == 2);  // the 3 tokens behind the second window are not trained on
  const Filled batch = next(batches, 3);
  CHECK(batch.ids == std::vector<std::int32_t>{100, 101, 102, 103, 104, 105, 106, 107, 100, 101, 102, 103});
  CHECK(batch.targets ==
        std::vector<std::int32_t>{101, 102, 103, 104, 105, 106, 107, 108, 101, 102, 103, 104});
  CHECK(batch.counted == 12);
  CHECK(batches.epochs(0) == 1.5);
}

TEST_CASE("Batches: a file shorter than a window is refused", "[TR-06]") {
  const TemporaryDirectory directory;
  for (const Index tokens : {0, 1, 7, 8}) {
    const TokenFile file = counting_file(directory / "a", tokens);
    CHECK_THAT(
        message_of([&] { Batches(file, {.length = 8}); }),
        Catch::Contains("has " + std::to_string(tokens) + " tokens; a window of length 8 needs at least 9"));
  }
  for (const Index tokens : {9, 10}) {
    Batches batches(counting_file(directory / "a", tokens), {.length = 8});
    CHECK(batches.windows(0) == 1);
    const Filled batch = next(batches, 2);
    CHECK(batch.ids == std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7});
    CHECK(batch.targets == std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8});
  }
}

TEST_CASE("Batches: options that cannot be are refused") {
  const TemporaryDirectory directory;
  const TokenFile file = counting_file(directory / "a", 20);
  TokenWriter writer(directory / "bytes");
  writer.append_bytes("some text that is long enough");
  writer.commit();
  const TokenFile bytes(directory / "bytes");
  const BatchOptions options{.length = 4};
  CHECK_THAT(message_of([&] { Batches({}, options); }), Catch::Contains("at least one token file"));
  CHECK_THAT(message_of([&] { Batches(file, {.length = 0}); }), Catch::Contains("found 0"));
  CHECK_THAT(message_of([&] { Batches(file, {.length = 0x7fffffffffffffff}); }),
             Catch::Contains("needs at least"));
  CHECK_THAT(message_of([&] { Batches({file, bytes}, options); }), Catch::Contains("different tokenizers"));
  for (const double weight : {0.0, -1.0, std::nan(""), HUGE_VAL})
    CHECK_THAT(message_of([&] {
                 Batches({{file, 1}, {file, weight}}, options);
               }),
               Catch::Contains("above 0"));
  CHECK_THAT(message_of([&] { Batches({{file, 1}, {file, 1e-12}}, options); }), Catch::Contains("too small"));
}

TEST_CASE("Batches: what has no rows of their length is not filled") {
  const TemporaryDirectory directory;
  const TokenFile file = counting_file(directory / "a", 20);
  Batches batches(file, {.length = 4});
  const EvaluationBatches evaluation(file, 4);
  std::vector<std::int32_t> room(16);
  const View<std::int32_t, 2> right(room.data(), Shape<2>{{2, 4}}), wrong(room.data(), Shape<2>{{4, 2}});
  for (const auto& [ids, targets] : {std::pair(wrong, wrong), {right, wrong}, {right, {}}}) {
    const auto said = Catch::Contains("rows of 4 tokens, found " + to_string(ids.shape()));
    CHECK_THAT(message_of([&, i = ids, t = targets] { batches.next(i, t); }), said);
    CHECK_THAT(message_of([&, i = ids, t = targets] { evaluation.fill(0, i, t); }), said);
  }
  CHECK_THAT(message_of([&] { evaluation.fill(-1, right, right); }), Catch::Contains("found -1"));
}

TEST_CASE("EvaluationBatches: bits per byte are those of the whole text, or none") {
  const TemporaryDirectory directory;
  const auto file = [&](const char* name, const TokenFileOptions& options, Index text_bytes) {
    TokenWriter writer(directory / name, options);
    writer.append(std::vector<std::int32_t>{5, 6, 7, 8});
    writer.set_text_bytes(text_bytes);
    writer.commit();
    return TokenFile(directory / name);
  };
  const TokenFile tokens = file("tokens", {.vocabulary = 300, .tokenizer = {1}}, 16);
  CHECK(EvaluationBatches(tokens, 4).bits_per_byte(std::numbers::ln2) == 0.25);
  CHECK(EvaluationBatches(tokens, 4, 3).bits_per_byte(std::numbers::ln2) == 0.25);  // all that are predicted
  CHECK_FALSE(EvaluationBatches(tokens, 4, 2).bits_per_byte(1));  // of how many bytes these are nobody knows
  CHECK_FALSE(EvaluationBatches(file("unknown", {.vocabulary = 300}, 0), 4).bits_per_byte(1));
  const TokenFile bytes = file("bytes", {}, 0);
  CHECK(EvaluationBatches(bytes, 4, 2).bits_per_byte(std::numbers::ln2) == 1);
}

TEST_CASE("Batches: an epoch has every window once, each epoch in its own order", "[TR-04]") {
  const TemporaryDirectory directory;
  const TokenFile file = counting_file(directory / "a", 64 * 8 + 1);
  const auto epochs = [&](std::uint64_t seed) {
    Batches batches(file, {.length = 8, .seed = seed});
    std::vector<std::vector<std::int32_t>> orders;
    for (int epoch = 0; epoch < 5; ++epoch) {
      std::vector<std::int32_t> order;
      for (int window = 0; window < 64; ++window) order.push_back(next(batches, 1).ids[0] / 8);
      orders.push_back(order);
    }
    return orders;
  };
  const auto orders = epochs(1);
  for (auto order : orders) {
    std::sort(order.begin(), order.end());
    for (std::int32_t i = 0; i < 64; ++i) REQUIRE(order[static_cast<std::size_t>(i)] == i);
  }
  CHECK(std::set(orders.begin(), orders.end()).size() == 5);
  CHECK(epochs(1) == orders);
  CHECK(epochs(2)[0] != orders[0]);
  // The second file of the same length has another order.
  Batches two({file, file}, {.length = 8, .seed = 1});
  std::vector<std::int32_t> first, second;
  for (int i = 0; i < 64; ++i) {
    const Filled batch = next(two, 2);
    first.push_back(batch.ids[0] / 8);
    second.push_back(batch.ids[8] / 8);
  }
  CHECK(first == orders[0]);
  CHECK(second != orders[0]);
}

TEST_CASE("Batches: a run that stops anywhere goes on with the same batches", "[TR-04]") {
  const TemporaryDirectory directory;
  // B·T = 64, four batches an epoch; with a second file that ends elsewhere.
  const TokenFile one = counting_file(directory / "a", 4 * 64 + 1);
  const TokenFile other = counting_file(directory / "b", 3 * 64 + 10, 5000);
  for (const bool shuffle : {true, false})
    for (const bool mixed : {false, true})
      for (const Index length : {8, 64}) {
        const BatchOptions options{.length = length, .seed = 3, .shuffle = shuffle};
        const auto fresh = [&] {
          return mixed ? Batches({{one, 3}, {other, 1.5}}, options) : Batches(one, options);
        };
        const Index rows = 64 / length;
        Batches whole = fresh();
        std::vector<Filled> expected;
        std::vector<BatchState> states;
        for (int i = 0; i < 20; ++i) {
          states.push_back(whole.state());
          expected.push_back(next(whole, rows));
        }
        for (std::size_t stop = 0; stop < 20; ++stop) {  // 4 and 8 are ends of epochs
          Batches resumed = fresh();
          for (int i = 0; i < 3; ++i) next(resumed, rows);  // whatever it did before does not matter
          resumed.restore(states[stop]);
          CHECK(resumed.state() == states[stop]);
          for (std::size_t i = stop; i < 20; ++i) REQUIRE(next(resumed, rows) == expected[i]);
        }
      }
}

TEST_CASE("Batches: a place in other data is refused", "[TR-04]") {
  const TemporaryDirectory directory;
  const BatchOptions options{.length = 8};
  const TokenFile file = counting_file(directory / "a", 65);
  Batches batches(file, options);
  next(batches, 5);
  const auto places = batches.places();
  REQUIRE(places.size() == 1);
  CHECK(places[0].tokens == 65);
  CHECK(places[0].windows == 5);
  CHECK(places[0].sha256 == to_hex(file.sha256()));

  std::filesystem::copy_file(directory / "a", directory / "moved");
  Batches moved(TokenFile(directory / "moved"), options);
  moved.restore(places);
  CHECK(next(moved, 5) == next(batches, 5));

  Batches same_length(counting_file(directory / "b", 65, 1), options);
  CHECK_THAT(message_of([&] { same_length.restore(places); }),
             Catch::Contains("differs") && Catch::Contains("expected SHA-256 " + places[0].sha256));
  CHECK(same_length.state().windows[0] == 0);  // as if nothing had been asked
  Batches longer(counting_file(directory / "b", 66), options);
  CHECK_THAT(message_of([&] { longer.restore(places); }),
             Catch::Contains("has 66 tokens") && Catch::Contains("with 65"));
  Batches two({file, file}, options);
  CHECK_THAT(message_of([&] { two.restore(places); }), Catch::Contains("in 1 files, found 2"));
  CHECK_THAT(message_of([&] { batches.restore(BatchState{{-1}}); }), Catch::Contains("damaged"));
}

TEST_CASE("Batches: files are mixed in exact shares") {
  const TemporaryDirectory directory;
  const TokenFile file = counting_file(directory / "a", 33);
  for (const std::vector<double>& weights : {std::vector<double>{1, 1},
                                             {1, 3},
                                             {0.9, 0.1},
                                             {1, 1, 1},
                                             {5, 1, 1, 1, 1, 1},
                                             {0.7, 0.2, 0.07, 0.03},
                                             {1, 1e-3}}) {
    std::vector<DataSource> sources;
    double sum = 0;
    for (const double weight : weights) {
      sources.push_back({file, weight});
      sum += weight;
    }
    Batches batches(sources, {.length = 32});
    for (Index taken = 1; taken <= 5000; ++taken) {
      next(batches, 1);
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const double share = static_cast<double>(taken) * weights[i] / sum;
        REQUIRE(std::abs(static_cast<double>(batches.state().windows[i]) - share) < 1.5);
      }
    }
  }
  // The order itself: the file furthest behind, counting the window that is to come; the first of equals.
  Batches quarters({{file, 1}, {file, 3}}, {.length = 32});
  std::vector<Index> of_first;
  for (int i = 0; i < 8; ++i) {
    next(quarters, 1);
    of_first.push_back(quarters.state().windows[0]);
  }
  CHECK(of_first == std::vector<Index>{0, 1, 1, 1, 1, 2, 2, 2});
  // 1 : 3 repeats itself, and goes on as it did far beyond 2^32 windows.
  Batches batches({{file, 1}, {file, 3}}, {.length = 32});
  const Index far = Index{1} << 50;
  batches.restore(BatchState{{far, 3 * far}});
  next(batches, 4000);
  CHECK(batches.state() == BatchState{{far + 1000, 3 * far + 3000}});
}

TEST_CASE("Batches: a target of weight 0 is ignored, and read all the same") {
  const TemporaryDirectory directory;
  TokenWriter writer(directory / "a", {.weighted = true});
  writer.append(std::vector<std::int32_t>{1, 2, 3, 4, 5}, std::vector<std::uint8_t>{0, 1, 0, 0, 1});
  writer.commit();
  Batches batches(TokenFile(directory / "a"), {.length = 4});
  const Filled batch = next(batches, 1);
  CHECK(batch.ids == std::vector<std::int32_t>{1, 2, 3, 4});
  CHECK(batch.targets == std::vector<std::int32_t>{2, ignored_target, ignored_target, 5});
  CHECK(batch.counted == 2);
  const EvaluationBatches evaluation(TokenFile(directory / "a"), 3);
  CHECK(evaluation_batch(evaluation, 0, 1).counted == 1);
  CHECK(evaluation_batch(evaluation, 1, 1).counted == 1);
}

TEST_CASE("EvaluationBatches: every token but the first is scored once") {
  const TemporaryDirectory directory;
  for (const Index tokens : {2, 3, 8, 9, 10, 16, 17, 18, 50})
    for (const Index length : {1, 4, 8, 100})
      for (const Index rows : {1, 3}) {
        const EvaluationBatches batches(counting_file(directory / "a", tokens, 10), length);
        std::vector<std::int32_t> scored;
        for (Index i = 0; i < batches.batches(rows); ++i) {
          const Filled batch = evaluation_batch(batches, i, rows);
          Index counted = 0;
          for (std::size_t at = 0; at < batch.ids.size(); ++at) {
            if (batch.targets[at] == ignored_target) {
              CHECK(batch.ids[at] == 0);
              continue;
            }
            CHECK(batch.targets[at] == batch.ids[at] + 1);
            scored.push_back(batch.targets[at]);
            ++counted;
          }
          CHECK(batch.counted == counted);
          CHECK(counted > 0);
        }
        REQUIRE(static_cast<Index>(scored.size()) == tokens - 1);
        for (std::size_t i = 0; i < scored.size(); ++i) CHECK(scored[i] == 11 + static_cast<std::int32_t>(i));
        CHECK(evaluation_batch(batches, batches.batches(rows), rows).counted ==
              0);  // behind the end: padding
        // With a limit, the first of these.
        for (const Index limit : {1, 3, 8, 9, 1000}) {
          const EvaluationBatches limited(batches.file(), length, limit);
          Index counted = 0;
          for (Index i = 0; i < limited.batches(rows); ++i) {
            const Filled batch = evaluation_batch(limited, i, rows);
            for (const std::int32_t target : batch.targets)
              if (target != ignored_target) CHECK(target == 11 + static_cast<std::int32_t>(counted++));
            CHECK(batch.counted > 0);
          }
          CHECK(counted == std::min(limit, tokens - 1));
          CHECK(limited.predicted() == counted);
        }
      }
  for (const Index tokens : {0, 1}) {
    const TokenFile file = counting_file(directory / "a", tokens);
    CHECK_THAT(message_of([&] { EvaluationBatches(file, 8); }), Catch::Contains("needs at least 2"));
  }
  const TokenFile file = counting_file(directory / "a", 9);
  CHECK_THAT(message_of([&] { EvaluationBatches(file, 0); }), Catch::Contains("found 0"));
  CHECK_THAT(message_of([&] { EvaluationBatches(file, 8, -1); }),
             Catch::Contains("the limit must be at least 0"));
}
